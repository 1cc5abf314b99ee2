"""The two clients: the same calls, blocking and awaited.

Nothing is retried here. The service itself falls back and retries; what it reports is final, and
`RouterError.retry_after_s` says when another try makes sense.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from llmrouter.client.models import Completion, Decision, RouterError

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Call:
    """One HTTP call: the method, the path below the base URL, and its JSON body or query."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, Any] | None = None


class Client:
    """A blocking client. `base_url` is the service's own address, without `/v1`.

    `router` keywords of `route` and `complete` are those of the `router` object in a request:
    `tier`, `quality`, `max_cost_usd`, `latency_budget_ms`, `allow`, `deny`, `task`, `session`,
    `strategy`, `cache`, and for `complete` the `decision_id` of an earlier `route`.
    """

    def __init__(self, base_url: str, *, api_key: str | None = None, timeout_s: float = 120.0):
        self._http = httpx2.Client(**_settings(base_url, api_key, timeout_s))

    def route(self, prompt: str | Messages, **router: Any) -> Decision:
        """Decide; nothing is executed. Raises RouterError."""
        return Decision.model_validate(self._send(_routed("/route", prompt, {}, router)))

    def complete(
        self, prompt: str | Messages, body: Mapping[str, Any] | None = None, **router: Any
    ) -> Completion:
        """Decide and execute. `body` holds further members of a chat completion request."""
        call = _routed("/complete", prompt, body or {}, router)
        return Completion.model_validate(self._send(call))

    def feedback(
        self,
        decision_id: str,
        score: float,
        *,
        preferred: str | None = None,
        comment: str | None = None,
    ) -> None:
        """Rate a decision, -1 to 1; `preferred` is the target that should have answered."""
        self._send(_feedback(decision_id, score, preferred, comment))

    def decision(self, decision_id: str) -> Decision:
        """One earlier decision."""
        return Decision.model_validate(self._send(_Call("GET", f"/decisions/{decision_id}")))

    def decisions(self, limit: int = 50) -> list[Decision]:
        """The newest decisions, newest first."""
        return _decisions(self._send(_Call("GET", "/decisions", query={"limit": limit})))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, call: _Call) -> dict[str, Any]:
        response = self._http.request(call.method, call.path, json=call.body, params=call.query)
        return _document(response)


class AsyncClient:
    """The same calls as `Client`, awaited."""

    def __init__(self, base_url: str, *, api_key: str | None = None, timeout_s: float = 120.0):
        self._http = httpx2.AsyncClient(**_settings(base_url, api_key, timeout_s))

    async def route(self, prompt: str | Messages, **router: Any) -> Decision:
        """Decide; nothing is executed. Raises RouterError."""
        return Decision.model_validate(await self._send(_routed("/route", prompt, {}, router)))

    async def complete(
        self, prompt: str | Messages, body: Mapping[str, Any] | None = None, **router: Any
    ) -> Completion:
        """Decide and execute. `body` holds further members of a chat completion request."""
        call = _routed("/complete", prompt, body or {}, router)
        return Completion.model_validate(await self._send(call))

    async def feedback(
        self,
        decision_id: str,
        score: float,
        *,
        preferred: str | None = None,
        comment: str | None = None,
    ) -> None:
        """Rate a decision, -1 to 1; `preferred` is the target that should have answered."""
        await self._send(_feedback(decision_id, score, preferred, comment))

    async def decision(self, decision_id: str) -> Decision:
        """One earlier decision."""
        return Decision.model_validate(await self._send(_Call("GET", f"/decisions/{decision_id}")))

    async def decisions(self, limit: int = 50) -> list[Decision]:
        """The newest decisions, newest first."""
        return _decisions(await self._send(_Call("GET", "/decisions", query={"limit": limit})))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _send(self, call: _Call) -> dict[str, Any]:
        sent = self._http.request(call.method, call.path, json=call.body, params=call.query)
        return _document(await sent)


def _settings(base_url: str, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    return {"base_url": base_url, "headers": headers, "timeout": timeout_s}


def _routed(
    path: str, prompt: str | Messages, body: Mapping[str, Any], router: Mapping[str, Any]
) -> _Call:
    asked = {"prompt": prompt} if isinstance(prompt, str) else {"messages": list(prompt)}
    options = {"router": dict(router)} if router else {}
    return _Call("POST", path, {**body, **asked, **options})


def _feedback(decision_id: str, score: float, preferred: str | None, comment: str | None) -> _Call:
    given = {"preferred": preferred, "comment": comment}
    extra = {name: value for name, value in given.items() if value is not None}
    return _Call("POST", "/feedback", {"decision_id": decision_id, "score": score, **extra})


def _decisions(document: Mapping[str, Any]) -> list[Decision]:
    return [Decision.model_validate(one) for one in document["decisions"]]


def _document(response: httpx2.Response) -> dict[str, Any]:
    """The JSON object of an answer. Raises RouterError for one that reports an error."""
    try:
        document = response.json()
    except ValueError:
        document = None
    if response.is_success and isinstance(document, dict):
        return document
    error = document.get("error") if isinstance(document, dict) else None
    said = error if isinstance(error, dict) else {}
    wait = response.headers.get("Retry-After", "")
    raise RouterError(
        str(said.get("message") or f"the service answered {response.status_code}"),
        response.status_code,
        said.get("code"),
        said.get("param"),
        float(wait) if wait.isdecimal() else None,
    )
