"""What the service answers, typed. Members that a later version adds are kept, not refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Source = Literal["pinned", "session", "rules", "cache", "learned", "llm", "default"]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class Alternative(_Answer):
    """An eligible target: its utility, and the probability that it answers well (0..1)."""

    target: str
    score: float
    probability: float | None = None


class Exclusion(_Answer):
    """A target that could not serve the request, and why."""

    target: str
    reason: str


class Estimate(_Answer):
    """What the decision should take, before it is executed."""

    input_tokens: int
    cost_usd: float
    latency_ms: float


class Decision(_Answer):
    """Which target should answer, and why. `timing_ms` is what deciding took."""

    decision_id: str
    target: str
    model: str
    provider: str
    source: Source | str
    confidence: float | None
    task: str
    reason: str
    alternatives: list[Alternative]
    excluded: list[Exclusion]
    fallbacks: list[str]
    estimate: Estimate
    catalog_version: str
    fingerprint: str
    timing_ms: float


class Attempt(_Answer):
    """One call of a target while a request was executed."""

    target: str
    outcome: str
    reason: str
    latency_ms: float
    cost_usd: float


class Execution(Decision):
    """The decision of a completion with what executing it took. `cost_usd` counts every attempt."""

    attempts: list[Attempt]
    cost_usd: float
    latency_ms: float


class Completion(_Answer):
    """A chat completion as the upstream gave it, and how it was routed.

    `text` is the first choice's content; `model_extra` holds every member of the upstream's body.
    """

    choices: list[dict[str, Any]]
    router: Execution

    @property
    def text(self) -> str:
        """The first choice's text; empty where it has none, such as for a tool call."""
        message = self.choices[0].get("message") if self.choices else None
        content = message.get("content") if isinstance(message, dict) else None
        return content if isinstance(content, str) else ""


class RouterError(Exception):
    """The service refused or failed a call.

    `status` is HTTP's, `code` the error's own name, `param` the member it is about;
    `retry_after_s` is set where trying again later may help.
    """

    def __init__(
        self,
        message: str,
        status: int,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
