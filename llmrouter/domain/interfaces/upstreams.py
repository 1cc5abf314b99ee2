"""Targets: how an attempt is sent, and which targets can serve now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.completion import (
    ReplyTranslation,
    ResponseEvent,
    UpstreamRequest,
)
from llmrouter.domain.target import Target


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A body that is not relayed as it came.

    `protocol` is the format that it is in. `translation` turns the reply back where that is not
    the caller's; `warnings` say what was dropped or changed.
    """

    body: bytes
    protocol: str
    warnings: tuple[str, ...] = ()
    translation: ReplyTranslation | None = None


class Rewriter(Protocol):
    """Turns a request into another wire format, or strips its history of reasoning."""

    def __call__(self, request: ChatRequest, target: Target, *, strip: bool) -> Rewritten | None:
        """The request for this target; None where it is relayed as it came.

        `strip` takes reasoning out of the history. Raises UpstreamFailure `untranslatable`.
        """
        ...


class Upstream(Protocol):
    """Executes one attempt at one target."""

    def send(
        self, call: UpstreamRequest
    ) -> AbstractAsyncContextManager[AsyncIterator[ResponseEvent]]:
        """Open the reply; its first event is the commit point. Raises UpstreamFailure.

        Leaving the context closes the upstream connection at once.
        """
        ...


RATE_LIMITED = "rate limited by its provider"


@dataclass(frozen=True, slots=True)
class Resting:
    """Why a target is left out for now, and in how many seconds it is tried next.

    `rate_limited`: its provider asked to be left alone; else its circuit is open, or it asked for
    another reason.
    """

    reason: str
    retry_after_s: float
    rate_limited: bool = False


class Health(Protocol):
    """Which targets cannot serve now, fed by real outcomes."""

    @property
    def all_healthy(self) -> bool:
        """Whether every target can serve, so that there is no need to ask about one."""
        ...

    def unavailable(self, target: str) -> str | None:
        """Why the target should be left out now, or None."""
        ...

    def resting(self, target: str) -> Resting | None:
        """Why the target is left out now and for how long, or None."""
        ...

    def least_bad(self, targets: Iterable[str]) -> str | None:
        """Which of these to probe where none is available; None where no probe may start."""
        ...

    def record(self, target: str, ok: bool) -> None:
        """An attempt succeeded, or failed in a way that counts against the target."""
        ...

    def cooldown(self, target: str, seconds: float | None = None, reason: str = ...) -> float:
        """The target asked to be left alone, for so long where it said. Returns the wait (s)."""
        ...

    def answered(self, target: str) -> None:
        """The target refused a request that is the caller's to change: so it works."""
        ...

    def release(self, target: str) -> None:
        """An attempt ended without telling anything of the target."""
        ...

    def admit(self, target: str, *, early: bool = False) -> bool:
        """Whether an attempt may start now; where a probe is due, this caller takes it."""
        ...
