"""Which targets cannot serve now, learned from real outcomes alone.

Two things are kept apart. A *circuit* opens after failures in a row and lets one probe through
after a while. A *cooldown* is a wait that the target asked for (a rate limit, an overload with
`Retry-After`): it lasts exactly as long as it asked, counts as no failure, and does not grow when
several calls are refused at once. Where a rate limit comes without a time, the first cooldown is
one second and doubles while nothing else comes of the target, up to 30 s.

Asking `unavailable` is free for a healthy target, because routing asks for every request; the one
probe that a half-open circuit lets through is taken by `admit`, right before an attempt starts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from llmrouter.domain.interfaces import RATE_LIMITED, Resting
from llmrouter.util.circuit_breaker import Breaker

MAX_COOLDOWN_S = 600.0
_FIRST_S = 1.0  # a rate limit without a time
_LONGEST_S = 30.0


@dataclass(slots=True)
class _Cooldown:
    """Until when (seconds of the clock), why, and how many in a row came without a time."""

    until: float
    reason: str
    guesses: int = 0


class TargetHealth:
    """Implements `Health`. `threshold` failures in a row open a target for `cooldown_s` seconds.

    A cooldown beyond ten minutes counts as ten minutes. A target that was never tried is healthy.
    """

    def __init__(
        self,
        threshold: int = 5,
        cooldown_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._breakers: dict[str, Breaker] = {}
        self._cooldowns: dict[str, _Cooldown] = {}
        self._out: set[str] = set()  # every target with a circuit or a cooldown to look at

    @property
    def all_healthy(self) -> bool:
        """Whether no circuit is open or half-open and no target cools down."""
        return not self._out

    def unavailable(self, target: str) -> str | None:
        """Why the target should be left out now, or None."""
        if target not in self._out:
            return None
        resting = self.resting(target)
        return None if resting is None else resting.reason

    def resting(self, target: str) -> Resting | None:
        """Why the target is left out now and for how long, or None."""
        if target not in self._out:
            return None
        cooldown_s, reason = self._cooling(target)
        breaker = self._breakers.get(target)
        state = "closed" if breaker is None else breaker.state
        if breaker is not None and state != "closed":
            open_s = breaker.remaining_s()
            if state == "half_open" and not cooldown_s:
                if not breaker.probing:
                    return None
                return Resting("circuit half-open, a probe is out", 1.0)
            if open_s >= cooldown_s:
                failed = f"circuit open after {breaker.failures} failures in a row"
                return Resting(f"{failed}, next try in {math.ceil(open_s)} s", open_s)
        if cooldown_s:
            said = f"{reason}, next try in {math.ceil(cooldown_s)} s"
            return Resting(said, cooldown_s, rate_limited=reason == RATE_LIMITED)
        self._out.discard(target)
        return None

    def least_bad(self, targets: Iterable[str]) -> str | None:
        """The target to probe where none of these is available: nothing but its circuit is in the
        way, no probe is out, and its next try is the nearest. None where there is no such target.
        """
        best: tuple[float, str] | None = None
        for target in targets:
            breaker = self._breakers.get(target)
            if breaker is None or breaker.state == "closed" or breaker.probing:
                continue
            if self._cooling(target)[0]:
                continue
            found = breaker.remaining_s(), target
            best = found if best is None else min(best, found)
        return None if best is None else best[1]

    def admit(self, target: str, *, early: bool = False) -> bool:
        """Whether an attempt may start now; where a probe is due, this caller takes it.

        `early`: an open circuit lets its probe through too (see `least_bad`).
        """
        if target not in self._out:
            return True
        if self._cooling(target)[0]:
            return False
        breaker = self._breakers.get(target)
        return breaker is None or breaker.allow(early=early)

    def record(self, target: str, ok: bool) -> None:
        """An attempt succeeded, or failed in a way that counts against the target."""
        breaker = self._breakers.get(target)
        if ok:
            if breaker is not None:
                breaker.success()
            cooldown = self._cooldowns.get(target)
            if cooldown is not None and self._clock() >= cooldown.until:
                del self._cooldowns[target]
                cooldown = None
            if cooldown is None:
                self._out.discard(target)
            return
        if breaker is None:
            breaker = Breaker(self._threshold, self._cooldown_s, self._clock)
            self._breakers[target] = breaker
        breaker.failure()
        if breaker.state != "closed":
            self._out.add(target)

    def cooldown(
        self, target: str, seconds: float | None = None, reason: str = RATE_LIMITED
    ) -> float:
        """The target asked to be left alone, for so long where it said. Returns the wait (s).

        It answered, so a probe of its circuit has succeeded.
        """
        self.answered(target)
        now, known = self._clock(), self._cooldowns.get(target)
        guesses = 0
        if not seconds:
            if known is not None and now < known.until:
                return known.until - now  # refused together with another call
            guesses = 0 if known is None else known.guesses
            seconds = min(_FIRST_S * 2.0**guesses, _LONGEST_S)
            guesses = min(guesses + 1, 16)
        until = now + min(seconds, MAX_COOLDOWN_S)
        if known is not None and known.until > until:
            return known.until - now
        self._cooldowns[target] = _Cooldown(until, reason, guesses)
        self._out.add(target)
        return until - now

    def answered(self, target: str) -> None:
        """The target answered, and refused: that closes a circuit, and is no success beside it."""
        breaker = self._breakers.get(target)
        if breaker is not None and breaker.state != "closed":
            breaker.success()

    def release(self, target: str) -> None:
        """An attempt ended without telling anything of the target; its probe is free again."""
        breaker = self._breakers.get(target)
        if breaker is not None:
            breaker.release()

    def states(self) -> dict[str, str]:
        """Every target that ever failed or cooled down, and its state, for console and metrics."""
        found: dict[str, str] = {name: breaker.state for name, breaker in self._breakers.items()}
        for target in self._cooldowns:
            cooling = bool(self._cooling(target)[0])
            if found.setdefault(target, "closed") == "closed" and cooling:
                found[target] = "cooldown"
        return found

    def _cooling(self, target: str) -> tuple[float, str]:
        """Seconds of cooldown left, and its reason; 0 where there is none."""
        cooldown = self._cooldowns.get(target)
        if cooldown is None:
            return 0.0, ""
        return max(0.0, cooldown.until - self._clock()), cooldown.reason
