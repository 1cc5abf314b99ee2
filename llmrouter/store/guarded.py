"""One circuit breaker and a short timeout before a store that is reached over a network.

A server that hangs would cost every request the client's timeout, several times over. After two
calls in a row without an answer nothing is asked for a second (then two, four, eight); one call
finds out whether the server is back. Callers see StoreFailed at once meanwhile, and degrade to a
miss as they do for any failure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

from llmrouter.domain.interfaces import Store
from llmrouter.errors import StoreFailed
from llmrouter.util.circuit_breaker import Breaker

log = logging.getLogger(__name__)
Result = TypeVar("Result")
ANSWER_S: Final = 0.5
MOST_S: Final = 5.0
FAILURES: Final = 2
COOLDOWN_S: Final = 1.0


class GuardedStore:
    """Implements `Store` over another one. `problem` says why nothing is kept, or is None."""

    def __init__(
        self, inner: Store, *, answer_s: float = ANSWER_S, breaker: Breaker | None = None
    ) -> None:
        self._inner = inner
        self._answer_s = answer_s
        self._breaker = breaker or Breaker(FAILURES, COOLDOWN_S)
        self._answers = 0
        self.problem: str | None = None

    async def get(self, key: str) -> bytes | None:
        """The value, or None when it is absent or expired."""
        return await self._asked(self._inner.get(key), key)

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Write a value."""
        await self._asked(self._inner.put(key, value, ttl_s), key)

    async def delete(self, key: str) -> None:
        """Remove a value or a counter; absent is fine."""
        await self._asked(self._inner.delete(key), key)

    async def append(
        self, log: str, entries: Sequence[bytes], keep: int, *, durable: bool = False
    ) -> None:
        """Append to a log and drop its oldest entries beyond `keep`."""
        await self._asked(self._inner.append(log, entries, keep, durable=durable), log)

    async def tail(self, log: str, last: int, skip: int = 0) -> list[bytes]:
        """The newest `last` entries but for the `skip` newest, oldest first."""
        return await self._asked(self._inner.tail(log, last, skip), log)

    async def increment(self, key: str, by: float, ttl_s: float) -> float:
        """Add to a counter atomically; a new one lives `ttl_s`."""
        return await self._asked(self._inner.increment(key, by, ttl_s), key)

    async def set_field(
        self, table: str, field: str, value: bytes | None, *, durable: bool = False
    ) -> None:
        """Write one field of a table; None removes it."""
        call = self._inner.set_field(table, field, value, durable=durable)
        await self._asked(call, table, field)

    async def fields(self, table: str) -> dict[str, bytes]:
        """Every field of a table."""
        return await self._asked(self._inner.fields(table), table)

    async def close(self) -> None:
        """Release what is held, whatever the circuit says."""
        await self._inner.close()

    async def _asked(self, call: Coroutine[Any, Any, Result], *names: str) -> Result:
        try:
            for name in names:
                name.encode()
        except UnicodeEncodeError as error:  # no fault of the store
            call.close()
            raise StoreFailed(f"not a key: {error}") from error
        if not self._breaker.allow():
            call.close()
            raise StoreFailed(f"the store is not asked for now: {self.problem}")
        try:
            result = await self._answered(asyncio.ensure_future(call))
        except TimeoutError:
            self._failed(f"no answer within {self._answer_s:g} s")
            raise StoreFailed(f"no answer from the store within {self._answer_s:g} s") from None
        except StoreFailed as failure:
            self._failed(str(failure))
            raise
        except BaseException:  # the caller left: that says nothing of the store
            self._breaker.release()
            raise
        if self.problem is not None:
            log.warning("the store answers again")
            self.problem = None
        self._breaker.success()
        self._answers += 1
        return result

    async def _answered(self, call: asyncio.Future[Result]) -> Result:
        """The call's result. Raises TimeoutError where nothing at all was answered for so long.

        A burst waits for its turn, which says nothing of the store while others get theirs. It is
        looked at twice, so that a loop that was held up itself sees what came meanwhile.
        """
        seen, silent, waited_s = self._answers, 0, 0.0
        try:
            while not call.done():
                await asyncio.wait((call,), timeout=self._answer_s / 2)
                waited_s += self._answer_s / 2
                silent = silent + 1 if self._answers == seen else 0
                seen = self._answers
                if not call.done() and (silent >= 2 or waited_s >= MOST_S):
                    raise TimeoutError
            return call.result()
        finally:
            call.cancel()

    def _failed(self, why: str) -> None:
        if self.problem is None:
            log.error("the store does not answer, nothing is kept meanwhile: %s", why)
        self.problem = why
        self._breaker.failure()
