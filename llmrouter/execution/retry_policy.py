"""What follows from a failed attempt: one table, for streaming and not.

While another target is left, it is tried at once: a failure costs the caller its own time and no
more. Only when none is left is a target tried again, after a wait. What the caller must mend is
never hidden behind another target: the upstream's own words go back. A target that lacks our
credentials or credit, or does not know its model, is our misconfiguration, so others answer
meanwhile. What a target does not take (a parameter, a kind of part) another may take; whose fault
an error is stands in `domain/error_signs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from llmrouter.domain.error_signs import ErrorCategory
from llmrouter.domain.interfaces import RATE_LIMITED
from llmrouter.domain.provider_errors import category_of
from llmrouter.errors import UpstreamFailure


class Next(Enum):
    """What may be tried after a failure."""

    ELSEWHERE = "another target"
    LARGER = "a target with a larger context window"
    NOTHING = "the caller must change the request"


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """`repeat`: the same target may be tried again later. `ill`: it counts against its health.

    `ours` marks a misconfiguration, which is counted and logged on its own. `rest` is no failure
    but a wait, and says why the target is left alone meanwhile; `rest_s` is how long (seconds)
    where the upstream did not say.
    """

    then: Next
    repeat: bool = False
    ill: bool = False
    ours: bool = False
    rest: str = ""
    rest_s: float | None = None


TRANSIENT = RetryDecision(Next.ELSEWHERE, repeat=True, ill=True)
LIMITED = RetryDecision(Next.ELSEWHERE, repeat=True, rest=RATE_LIMITED)
BUSY = RetryDecision(Next.ELSEWHERE, repeat=True)
BROKEN = RetryDecision(Next.ELSEWHERE, ill=True)
SKIPPED = RetryDecision(Next.ELSEWHERE)
OURS = RetryDecision(Next.ELSEWHERE, ill=True, ours=True)
NO_CREDIT = RetryDecision(
    Next.ELSEWHERE, ours=True, rest="its account at the provider is used up", rest_s=60.0
)
TOO_LONG = RetryDecision(Next.LARGER)
FINAL = RetryDecision(Next.NOTHING)

BY_CATEGORY: dict[ErrorCategory, RetryDecision] = {
    ErrorCategory.CONTEXT_OVERFLOW: TOO_LONG,
    ErrorCategory.CONTENT_FILTERED: FINAL,
    ErrorCategory.RATE_LIMITED: LIMITED,
    ErrorCategory.INSUFFICIENT_QUOTA: NO_CREDIT,
    ErrorCategory.MISCONFIGURED: OURS,
    ErrorCategory.UNSUPPORTED: SKIPPED,
    ErrorCategory.INVALID_REQUEST: FINAL,
    ErrorCategory.OVERLOADED: TRANSIENT,
    ErrorCategory.CONFLICT: BUSY,
    ErrorCategory.SERVER_ERROR: TRANSIENT,
    ErrorCategory.NOT_IMPLEMENTED: BROKEN,
    ErrorCategory.CONNECT: TRANSIENT,
    ErrorCategory.INTERRUPTED: TRANSIENT,
    ErrorCategory.TIMEOUT: BROKEN,
    ErrorCategory.EMPTY: BUSY,
    ErrorCategory.MALFORMED: BROKEN,
    ErrorCategory.TOO_LARGE: SKIPPED,
    ErrorCategory.SATURATED: BUSY,
    ErrorCategory.CIRCUIT_OPEN: SKIPPED,
    ErrorCategory.COOLDOWN: SKIPPED,
    ErrorCategory.STALLED: BROKEN,
    ErrorCategory.UNTRANSLATABLE: SKIPPED,
}
ADDED = ("stream_options", "logprobs")


def consequence(failure: UpstreamFailure, *, on_refusal: bool = False) -> RetryDecision:
    """What follows. `on_refusal`: a content filter's refusal is tried elsewhere, not final."""
    category = category_of(failure)
    if category is ErrorCategory.CONTENT_FILTERED and on_refusal:
        return SKIPPED
    return BY_CATEGORY[category]


def rejected_option(failure: UpstreamFailure) -> str | None:
    """Which option that this service may have added an older server refuses, or None."""
    if failure.status not in (400, 422):
        return None
    return next((name for name in ADDED if name.encode() in failure.body), None)
