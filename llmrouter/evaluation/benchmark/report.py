"""Prints an evaluation within 80 columns, the score first; wider terminals get every interval.

Every caveat stands under the table that it belongs to. `--json` and `--html` have all figures.
"""

from __future__ import annotations

import math
import os

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmrouter.evaluation.benchmark.metrics import Interval
from llmrouter.evaluation.benchmark.results import FIXED_PRICE, Report, SetResult

PIPE_WIDTH = 240
NARROW = 80
WIDE = 190
"""Columns from which on every interval is shown."""
MISSING = "–"


def console() -> Console:
    """Standard output; in a pipe without colour and wide enough that no row wraps."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=PIPE_WIDTH, no_color=True)


def narrow_console() -> Console:
    """Standard output at the terminal's width; in a pipe COLUMNS wide, or 80."""
    out = Console(highlight=False)
    if out.is_terminal or "COLUMNS" in os.environ:
        return out
    return Console(highlight=False, width=NARROW, no_color=True)


def show(report: Report, out: Console) -> None:
    """Prints every set."""
    for one in report.sets:
        _show_set(one, out)
    said = f"[low, high]: 95% bootstrap interval, {report.draws} draws, seed {report.seed}"
    if out.width < WIDE:
        said += "; --json has every figure's"
    out.print(Text(said, style="dim"))


def _show_set(one: SetResult, out: Console) -> None:
    wide = out.width >= WIDE
    out.print(Text(headline(one), style="bold"))
    out.print(Text(f"{one.protocol}; cost in {one.unit} ({one.cost_source})", style="dim"))
    out.print(_policies(one, wide))
    if one.curves:
        out.print(_curves(one, wide))
    if one.pairs:
        out.print(_pairs(one, wide))
    for line in (*noise(one), *spread(one), *calibration(one)):
        out.print(Text(line, style="dim"))
    for note in one.notes:
        out.print(Text(f"note: {note}", style="yellow"))
    out.print()


def headline(one: SetResult) -> str:
    """The score first: the first learned policy's at its best, or else the best policy's."""
    against = f"always {one.reference} has {figure(one.reference_score)}"
    about = f"{one.name}, {one.rows:,} rows"
    if one.curves:
        curve = one.curves[0]
        return (
            f"score {figure(curve.top.value)} {bounds(curve.top)}: {curve.policy} at its best; "
            f"{against}; saved {percent(curve.saving_equal.value)} at an equal score; {about}"
        )
    known = [policy for policy in one.policies if not policy.sees_test]
    if not known:
        return about
    best = max(known, key=lambda policy: policy.score.value)
    return f"score {figure(best.score.value)} {bounds(best.score)}: {best.name}; {against}; {about}"


def _table(title: str, *numbers: str) -> Table:
    """Figures, then the policy that they are of, which alone may take several lines."""
    table = Table(
        title=title, title_justify="left", title_style="italic", box=SIMPLE_HEAD, pad_edge=False
    )
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True, min_width=5)
    table.add_column("policy", overflow="fold")
    return table


def _intervals(wide: bool, *cells: str) -> list[str]:
    """Cells of intervals, where there is room for them."""
    return list(cells) if wide else []


def _policies(one: SetResult, wide: bool) -> Table:
    cost = {"USD": "USD per 1k", "share of strong calls": "strong calls"}.get(one.unit, one.unit)
    table = _table(
        f"saved and gained: against always {one.reference}",
        *("score", "", cost, "saved", "gained", *_intervals(wide, "")),
    )
    for policy in one.policies:
        name = f"{policy.name} *" if policy.sees_test else policy.name
        known = f"; {policy.known:.0%} recorded" if policy.known < 1 else ""
        table.add_row(
            figure(policy.score.value),
            bounds(policy.score),
            money(policy.cost.value, one.unit),
            percent(policy.saving.value),
            signed(policy.gain.value),
            *_intervals(wide, bounds(policy.gain, signs=True)),
            Text.assemble(name, (f" ({policy.detail}{known})", "dim")),
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


def calibration(one: SetResult) -> list[str]:
    """How far estimates were off on average, in one line; `--json` has the curves."""
    each = ", ".join(f"{found.policy} {found.error:.3f}" for found in one.calibration)
    return [f"expected calibration error of estimates: {each}"] if each else []


def _curves(one: SetResult, wide: bool) -> Table:
    heads: list[str] = []
    for name in ("best", "lead", "saved =", "−1 pt", "0–2"):
        heads += [name, *_intervals(wide, "")]
    table = _table(
        "whole range of the dial, read off the rows evaluated and so slightly kind: score\n"
        "at best; how far above the neighbours' that is; saved at an equal score (which\n"
        "jumps), within one point, on average over 0 to 2 points below; score at a fixed\n"
        f"price ({FIXED_PRICE} of quality for the dearest); share of the gap between\n"
        "always-best and the oracle that is closed at best; area under the curve",
        *(*heads, "fixed", "gap", "area"),
    )
    for curve in one.curves:
        table.add_row(
            figure(curve.top.value),
            *_intervals(wide, bounds(curve.top)),
            signed(curve.lead.value),
            *_intervals(wide, bounds(curve.lead, signs=True)),
            percent(curve.saving_equal.value),
            *_intervals(wide, bounds(curve.saving_equal, share=True)),
            percent(curve.saving_point.value),
            *_intervals(wide, bounds(curve.saving_point, share=True)),
            percent(curve.saving_average.value),
            *_intervals(wide, bounds(curve.saving_average, share=True)),
            figure(curve.fixed.value),
            percent(curve.oracle_share.value),
            figure(curve.area.value),
            curve.policy,
        )
    return table


def _pairs(one: SetResult, wide: bool) -> Table:
    pair = one.pairs[0]
    heads = ("APGR", "", "CPT(50%)", *_intervals(wide, ""), "CPT(80%)", *_intervals(wide, ""))
    table = _table(
        f"two targets: {pair.strong} over {pair.weak}, as RouteLLM measures\n(chance: APGR 0.5)",
        *heads,
    )
    for pair in one.pairs:
        table.add_row(
            figure(pair.apgr.value),
            bounds(pair.apgr),
            percent(pair.cpt50.value),
            *_intervals(wide, bounds(pair.cpt50, share=True)),
            percent(pair.cpt80.value),
            *_intervals(wide, bounds(pair.cpt80, share=True)),
            pair.policy,
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
    return f"${value * 1000:.4f}" if unit == "USD" else f"{value:.3f}"


def bounds(one: Interval, *, signs: bool = False, share: bool = False) -> str:
    """An interval in brackets."""
    if not (math.isfinite(one.low) and math.isfinite(one.high)):
        return ""
    write = percent if share else signed if signs else figure
    return f"[{write(one.low)}, {write(one.high)}]"
