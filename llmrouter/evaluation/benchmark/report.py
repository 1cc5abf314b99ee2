"""Prints an evaluation on a terminal, or as plain text in a pipe.

Every figure carries its interval, and every caveat stands under the table that it belongs to.
"""

from __future__ import annotations

import math

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmrouter.evaluation.benchmark.metrics import Interval
from llmrouter.evaluation.benchmark.results import FIXED_PRICE, Report, SetResult

PIPE_WIDTH = 240
MISSING = "–"


def console() -> Console:
    """Standard output; in a pipe without colour and wide enough that no row wraps."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=PIPE_WIDTH, no_color=True)


def show(report: Report, out: Console) -> None:
    """Prints every set."""
    for one in report.sets:
        _show_set(one, out)
    out.print(
        Text(f"[low, high]: 95% bootstrap interval, {report.draws} draws, seed {report.seed}"),
        style="dim",
    )


def _show_set(one: SetResult, out: Console) -> None:
    out.print(Text(f"{one.name}: {one.rows:,} rows", style="bold"))
    out.print(Text(f"{one.protocol}; cost in {one.unit} ({one.cost_source})", style="dim"))
    out.print(_policies(one))
    if one.curves:
        out.print(_curves(one))
    if one.pairs:
        out.print(_pairs(one))
    for line in (*noise(one), *spread(one)):
        out.print(Text(line, style="dim"))
    for note in one.notes:
        out.print(Text(f"note: {note}", style="yellow"))
    out.print()


def _table(title: str, first: str, *numbers: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="italic", box=SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True, min_width=6 if name else 0)
    return table


def _policies(one: SetResult) -> Table:
    cost = {"USD": "cost", "share of strong calls": "strong calls"}.get(one.unit, one.unit)
    table = _table(
        f"saved and gained: against always {one.reference}",
        "policy",
        *("score", "", cost, "saved", "gained", ""),
    )
    table.add_column("how", overflow="ellipsis", no_wrap=True)
    for policy in one.policies:
        name = f"{policy.name} *" if policy.sees_test else policy.name
        known = f"; {policy.known:.0%} recorded" if policy.known < 1 else ""
        table.add_row(
            name,
            figure(policy.score.value),
            bounds(policy.score),
            money(policy.cost.value, one.unit),
            percent(policy.saving.value),
            signed(policy.gain.value),
            bounds(policy.gain, signs=True),
            policy.detail + known,
        )
    if any(policy.sees_test for policy in one.policies):
        table.caption = "* decides by the outcomes evaluated: a bound, not a policy"
        table.caption_justify = "left"
    return table


def noise(one: SetResult) -> list[str]:
    """How far figures vary between draws of as many rows, as a sentence; none where unknown."""
    if one.noise is None:
        return []
    return [
        f"noise: between draws of {one.noise.rows:,} rows the score at best varies by "
        f"{one.noise.score:.3f} and its lead over always-best by {one.noise.gain:.3f} "
        "(standard deviations); a smaller difference is no progress"
    ]


def spread(one: SetResult) -> list[str]:
    """How far figures vary between fits with other seeds, a line for each figure."""
    return [
        f"{part.fits} fits: {part.figure} {part.mean:.3f} on average, "
        f"{part.low:.3f} to {part.high:.3f}"
        for part in one.spread
    ]


def _curves(one: SetResult) -> Table:
    table = _table(
        "whole range of the dial, read off the rows evaluated and so slightly kind: score at\n"
        "best, how far above the neighbours' that is, area under the curve, saved at an equal\n"
        "score (which jumps), saved within one point, saved on average over 0 to 2 points below,\n"
        f"score at a fixed price ({FIXED_PRICE} of quality for the dearest), share of the gap\n"
        "between always-best and the oracle that is closed at best",
        "policy",
        *("best", "", "lead", "", "area", "saved =", "", "saved −1 pt", ""),
        *("saved 0–2", "", "fixed", "gap"),
    )
    for curve in one.curves:
        table.add_row(
            curve.policy,
            figure(curve.top.value),
            bounds(curve.top),
            signed(curve.lead.value),
            bounds(curve.lead, signs=True),
            figure(curve.area.value),
            percent(curve.saving_equal.value),
            bounds(curve.saving_equal, share=True),
            percent(curve.saving_point.value),
            bounds(curve.saving_point, share=True),
            percent(curve.saving_average.value),
            bounds(curve.saving_average, share=True),
            figure(curve.fixed.value),
            percent(curve.oracle_share.value),
        )
    return table


def _pairs(one: SetResult) -> Table:
    pair = one.pairs[0]
    table = _table(
        f"two targets: {pair.strong} over {pair.weak}, as RouteLLM measures (chance: APGR 0.5)",
        "policy",
        *("APGR", "", "CPT(50%)", "", "CPT(80%)", ""),
    )
    for pair in one.pairs:
        table.add_row(
            pair.policy,
            figure(pair.apgr.value),
            bounds(pair.apgr),
            percent(pair.cpt50.value),
            bounds(pair.cpt50, share=True),
            percent(pair.cpt80.value),
            bounds(pair.cpt80, share=True),
        )
    return table


def figure(value: float) -> str:
    """A score with three decimals."""
    return f"{value:.3f}" if math.isfinite(value) else MISSING


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{value:+.3f}" if math.isfinite(value) else MISSING


def percent(value: float) -> str:
    """A share as a percentage."""
    return f"{value:.1%}" if math.isfinite(value) else MISSING


def money(value: float, unit: str) -> str:
    """Mean cost of a request: USD per thousand requests, or units."""
    if not math.isfinite(value):
        return MISSING
    return f"${value * 1000:.4f}/1k" if unit == "USD" else f"{value:.3f}"


def bounds(one: Interval, *, signs: bool = False, share: bool = False) -> str:
    """An interval in brackets."""
    if not (math.isfinite(one.low) and math.isfinite(one.high)):
        return ""
    write = percent if share else signed if signs else figure
    return f"[{write(one.low)}, {write(one.high)}]"
