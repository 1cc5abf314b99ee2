"""What to do where every target that fits a request is resting.

Where a circuit is all that is in the way, one request goes to the least bad target as a probe
instead of failing (a load balancer's panic mode, with one request at a time). Everything else is
told to come back, with the time at which the first target is tried again.
"""

from __future__ import annotations

from llmrouter.domain.decision import Source, StageResult
from llmrouter.domain.interfaces import Health
from llmrouter.errors import NoEligibleTarget, Overloaded, TargetsRateLimited
from llmrouter.routing.eligibility import EligibilityResult


def target_to_probe(screening: EligibilityResult, health: Health) -> str:
    """The target to probe. Raises NoEligibleTarget where none can ever serve the request.

    Raises TargetsRateLimited (all wait for a rate limit) or Overloaded where no probe may start.
    """
    listed = "; ".join(f"{e.target}: {e.reason}" for e in screening.excluded)
    if not screening.resting:
        raise NoEligibleTarget(f"no eligible target: {listed or 'the catalog has none'}")
    probe = health.least_bad(screening.resting)
    if probe is not None:
        return probe
    rests = [rest for name in screening.resting if (rest := health.resting(name)) is not None]
    wait_s = min((rest.retry_after_s for rest in rests), default=0.0)
    if all(rest.rate_limited for rest in rests):
        raise TargetsRateLimited(
            f"every fitting target is rate limited: {listed}", retry_after_s=wait_s
        )
    raise Overloaded(f"every fitting target is resting: {listed}", retry_after_s=wait_s)


def probing(eligible: tuple[str, ...], health: Health) -> StageResult | None:
    """The verdict where the one eligible target rests and is probed all the same, else None."""
    if health.all_healthy or len(eligible) != 1 or (rest := health.resting(eligible[0])) is None:
        return None
    reason = f"every fitting target is resting, this one is probed: {rest.reason}"
    return StageResult(eligible[0], Source.DEFAULT, reason)
