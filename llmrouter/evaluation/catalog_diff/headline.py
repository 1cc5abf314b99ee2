"""The first line of a report on an edit: what changes in targets and cost, and what is not known.

Pure: figures in, one line out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SHOWN_MOVES = 3


@dataclass(frozen=True, slots=True)
class Unknown:
    """Requests that the replay cannot settle, by why.

    `asked_anew` no longer have what decided them, `asked_again` keep a judgement that the router
    LLM would make from the edited catalog, `untold` were recorded without text, `left_out` were not
    replayed in time.
    """

    asked_anew: int = 0
    asked_again: int = 0
    untold: int = 0
    left_out: int = 0

    def lines(self) -> Iterator[str]:
        """Each as a clause."""
        if asked := self.asked_anew + self.asked_again:
            yield f"what the router LLM would say of {asked}"
        if self.untold:
            yield f"what words would decide in {self.untold} recorded without text"
        if self.left_out:
            yield f"{self.left_out} that were not replayed in time"
        yield "whether the answers get better or worse"


@dataclass(frozen=True, slots=True)
class Figures:
    """What a headline says: of `replayed` requests, the `moves` (before, after, how many), how many
    are `refused` anew, and the estimated cost before and after in USD."""

    replayed: int
    moves: Sequence[tuple[str, str, int]]
    refused: int
    before_usd: float
    after_usd: float


def headline(figures: Figures, unknown: Unknown) -> str:
    """One line."""
    if not figures.replayed:
        return "No request is recorded, so what this edit changes is not known."
    moved = sum(count for _, _, count in figures.moves)
    parts = [f"{moved} of {figures.replayed} recorded requests change target{_moves(figures)}"]
    if figures.refused:
        parts.append(f"{figures.refused} would be refused")
    parts.append(f"estimated cost {_cost(figures.before_usd, figures.after_usd)}")
    return f"{', '.join(parts)}. Not known: {'; '.join(unknown.lines())}."


def usd(amount: float) -> str:
    """Dollars with four decimals."""
    return f"${amount:.4f}"


def percent(before: float, after: float) -> str:
    """The change in parentheses, or nothing where there is hardly any."""
    ratio = after / before if before > 0 else 1.0
    if abs(ratio - 1) < 0.0005:
        return ""
    return f" ({ratio - 1:+.1%})" if ratio < 10 else f" ({ratio:,.0f} ×)"


def _moves(figures: Figures) -> str:
    shown = [f"{count} {before} → {after}" for before, after, count in figures.moves[:SHOWN_MOVES]]
    if len(figures.moves) > SHOWN_MOVES:
        shown.append("…")
    return f" ({', '.join(shown)})" if shown else ""


def _cost(before: float, after: float) -> str:
    change = percent(before, after)
    return f"{usd(before)} → {usd(after)}{change}" if change else f"unchanged at {usd(after)}"
