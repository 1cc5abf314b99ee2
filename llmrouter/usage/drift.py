"""Drift: today against last week, and last week against the one before, per task and target.

The report and the running service use the same test. A sudden fall shows from one day to the next,
a slow one only from week to week, so both are compared. A fall that chance explains is not reported
(see `usage.totals.falls`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llmrouter.usage.totals import Fall, Key, UsageTotals, falls, total

DAY: Final = 86_400.0
MOST_PIECES: Final = 7
TODAY, LASTING = "now", "lasting"
NOTHING: Final = UsageTotals()


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The last `days` before `end` (seconds since the epoch), and the `against` days before."""

    end: float
    days: float = 1.0
    against: float = 7.0

    @property
    def start(self) -> float:
        """Where now begins."""
        return self.end - self.days * DAY

    @property
    def before(self) -> float:
        """Where what it is compared with begins."""
        return self.start - self.against * DAY

    @property
    def earlier(self) -> float:
        """Where what that is compared with begins."""
        return self.before - self.against * DAY

    def bounds(self) -> list[float]:
        """Where each piece begins, and the last one ends: some of earlier, as many before, now."""
        pieces = max(1, min(MOST_PIECES, round(self.against)))
        step = self.against * DAY / pieces
        return [self.earlier + n * step for n in range(2 * pieces)] + [self.start, self.end + DAY]

    def name(self) -> str:
        """In words."""
        now = "today (24 h)" if self.days == 1 else f"the last {self.days:g} days"
        was = "the week before" if self.against == 7 else f"the {self.against:g} days before"
        return f"{now} against {was}"


@dataclass(frozen=True, slots=True)
class TrendLine:
    """One task and target: `now`, `before`, quality a day (oldest first, None: not rated), and
    what fell: `now` against before, or `lasting`: before and now against what was earlier.
    """

    task: str
    target: str
    now: UsageTotals
    before: UsageTotals
    daily: tuple[float | None, ...]
    falls: tuple[tuple[str, Fall], ...]

    def public(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "now": self.now.public(),
            "before": self.before.public(),
            "daily_quality": self.daily,
            "falls": [
                {"what": fall.what, "when": when, "before": fall.before, "now": fall.now}
                for when, fall in self.falls
            ],
        }


def lines(pieces: Sequence[Mapping[Key, UsageTotals]]) -> list[TrendLine]:
    """One line a task and target that was used now or before, sorted.

    `pieces` are the accounts between each two of `TimeSpan.bounds`.
    """
    half = len(pieces) // 2
    earlier, before, now = _sum(pieces[:half]), _sum(pieces[half:-1]), pieces[-1]
    found = []
    for key in sorted(now.keys() | before.keys()):
        one, other = now.get(key, NOTHING), before.get(key, NOTHING)
        fell = [(TODAY, fall) for fall in falls(one, other)]
        said = {fall.what for _, fall in fell}
        lately = falls(total([one, other]), earlier.get(key, NOTHING))
        fell += [(LASTING, fall) for fall in lately if fall.what not in said]
        daily = tuple(piece.get(key, NOTHING).quality for piece in pieces)
        found.append(TrendLine(*key, one, other, daily, tuple(fell)))
    return found


def _sum(pieces: Sequence[Mapping[Key, UsageTotals]]) -> dict[Key, UsageTotals]:
    keys = {key for piece in pieces for key in piece}
    return {key: total(piece[key] for piece in pieces if key in piece) for key in keys}
