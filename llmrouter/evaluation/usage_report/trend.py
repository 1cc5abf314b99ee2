"""The report's figures and their layout on a terminal: today, last week, and the days between.

Under `WIDE` columns the parts of the spend are summed up below the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llmrouter.usage.drift import TODAY, TimeSpan, TrendLine
from llmrouter.usage.totals import Entry, Fall, UsageTotals, total

WIDE: Final = 110
NARROW: Final = 8
"""Days of the trend that a narrow terminal has room for."""
BARS: Final = "▁▂▃▄▅▆▇█"


def shadows(entries: Iterable[Entry], span: TimeSpan) -> list[dict[str, Any]]:
    """What each shadow came to in both stretches together; see `routing.stages.shadow`."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.get("kind") == "shadow" and float(entry.get("at") or 0.0) >= span.before:
            found.setdefault(str(entry.get("strategy")), []).append(entry)
    return [_shadow(name, told) for name, told in sorted(found.items())]


def _shadow(name: str, told: Sequence[Entry]) -> dict[str, Any]:
    chose = [one for one in told if one.get("outcome") in ("agreed", "disagreed")]
    graded = [one for one in chose if one.get("shadow_quality") is not None]

    def mean(key: str, of: Sequence[Entry]) -> float | None:
        return sum(float(one[key]) for one in of) / len(of) if of else None

    agreed = sum(one["outcome"] == "agreed" for one in chose)
    return {
        "strategy": name,
        "requests": len(told),
        "chose": len(chose),
        "agreement": agreed / len(chose) if chose else None,
        "usd_per_request": mean("shadow_usd", chose),
        "live_usd_per_request": mean("live_usd", chose),
        "estimated_quality": mean("shadow_quality", graded),
        "live_estimated_quality": mean("live_quality", graded),
        "own_usd": sum(float(one.get("router_usd") or 0.0) for one in told),
    }


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    cell: Callable[[UsageTotals, UsageTotals], str]
    wide: bool = False


COLUMNS: Final = (
    _Column("asked", lambda now, _: f"{now.requests:,}"),
    _Column("$/1k", lambda now, _: money(now.each)),
    _Column("was", lambda _, was: money(was.each), wide=True),
    _Column("overhead", lambda now, _: overhead(now), wide=True),
    _Column("rated", lambda now, _: f"{now.rated:,}", wide=True),
    _Column("quality", lambda now, _: share(now.quality)),
    _Column("was", lambda _, was: share(was.quality)),
    _Column("q/$", lambda now, _: amount(now.quality_per_usd)),
    _Column("was", lambda _, was: amount(was.quality_per_usd)),
)


def show(
    out: Console, found: Sequence[TrendLine], alongside: Sequence[Mapping[str, Any]], span: TimeSpan
) -> None:
    """Prints the table, the sums, what falls, and what shadows came to."""
    wide = out.width >= WIDE
    columns = [one for one in COLUMNS if wide or not one.wide]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("task", overflow="fold")
    table.add_column("target", overflow="fold")
    for column in columns:
        table.add_column(column.name, justify="right", no_wrap=True)
    table.add_column("trend", no_wrap=True)
    for line in found:
        cells = [column.cell(line.now, line.before) for column in columns]
        drawn = sparkline(line.daily if wide else line.daily[-NARROW:])
        trend = f"[yellow]{drawn} ▼[/yellow]" if line.falls else drawn
        table.add_row(escape(line.task) or "–", escape(line.target), *cells, trend)
    now, before = total(line.now for line in found), total(line.before for line in found)
    table.add_section()
    table.add_row("all", "", *(column.cell(now, before) for column in columns), "")
    out.print(table)
    _explain(out, now, before, span)
    for line in found:
        for when, fall in line.falls:
            out.print(_warning(line, when, fall, span), markup=False, style="yellow")
    if alongside:
        _show_shadows(out, alongside)


def _explain(out: Console, now: UsageTotals, before: UsageTotals, span: TimeSpan) -> None:
    out.print(f"{span.name()}; trend: quality day by day, today last", markup=False)
    for name, one in (("now", now), ("before", before)):
        out.print(
            f"spent {name} ${one.spent:.4g}: answers ${one.served:.4g}, "
            f"rejected and failed ${one.rejected:.4g}, router LLM ${one.router:.4g}, "
            f"audits ${one.audits:.4g}, judges ${one.judge:.4g}, embeddings ${one.embeddings:.4g}",
            markup=False,
            style="dim",
        )
    out.print(
        "$/1k: USD of 1,000 requests, everything included; quality: mean feedback, 0 to 1; "
        "q/$: quality per USD of one request",
        markup=False,
        style="dim",
    )


def _warning(line: TrendLine, when: str, fall: Fall, span: TimeSpan) -> str:
    since = "" if when == TODAY else f", over {2 * span.against + span.days:g} days"
    what = "share of answers taken" if fall.what == "acceptance" else fall.what
    return (
        f"▼ {what} of {line.target} on {line.task or 'unnamed'} requests fell from "
        f"{fall.before:.2f} to {fall.now:.2f}{since}: more than chance explains"
    )


def _show_shadows(out: Console, alongside: Sequence[Mapping[str, Any]]) -> None:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("shadow", no_wrap=True)
    for name in ("asked", "agreed", "$/1k", "live", "est. quality", "live", "own cost $"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in alongside:
        table.add_row(
            one["strategy"],
            f"{one['requests']:,}",
            share(one["agreement"]),
            money(one["usd_per_request"]),
            money(one["live_usd_per_request"]),
            share(one["estimated_quality"]),
            share(one["live_estimated_quality"]),
            f"{one['own_usd']:.4g}",
        )
    out.print(table)
    out.print(
        "shadows decide alongside without being used: what their choices would cost, and the "
        "preference model's estimate of what both are worth, where it has one",
        style="dim",
    )


def money(each: float | None) -> str:
    """USD of a thousand requests."""
    return "–" if each is None else amount(each * 1000)


def overhead(account: UsageTotals) -> str:
    """The share of spending that is no served answer."""
    if account.spent <= 0:
        return "–"
    return f"{1 - account.served / account.spent:.0%}"


def share(value: float | None) -> str:
    """A number in 0..1."""
    return "–" if value is None else f"{value:.2f}"


def amount(value: float | None) -> str:
    """Three significant digits, thousands as `k` and millions as `M`."""
    if value is None:
        return "–"
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}" if value == 0 or value >= 1e-4 else f"{value:.0e}"


def sparkline(values: Sequence[float | None]) -> str:
    """One bar a value in 0..1, a dot where there is none."""
    top = len(BARS) - 1
    return "".join("·" if v is None else BARS[round(min(max(v, 0.0), 1.0) * top)] for v in values)
