"""`llmrouter top`: what the running service spends now, by source and target, in a terminal.

In a pipe it prints once. All figures are of every worker, as `/stats` and `/decisions` have them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmrouter.commands.common import Json
from llmrouter.commands.service_call import Url, base_url, call
from llmrouter.util.json_output import print_json

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

NEWEST = 8
NONE = "–"


class Window(StrEnum):
    """Over how long figures add up."""

    HOUR = "hour"
    DAY = "day"
    FORTNIGHT = "fortnight"


def top(
    url: Url = None,
    window: Annotated[Window, typer.Option(help="Over how long.")] = Window.HOUR,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    json: Json = False,
) -> None:
    """Live figures of the running service: spend, sources, targets. Ctrl-C ends it."""
    if json:
        print_json(figures(url, window))
        return
    from rich.console import Console
    from rich.live import Live

    out, where = Console(highlight=False), base_url(url)
    seen = page(figures(url, window), where)
    if not out.is_terminal:
        out.print(seen)
        return
    try:
        with Live(seen, console=out, screen=True, auto_refresh=False) as live:
            while True:
                live.update(page(figures(url, window), where), refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        return


def figures(url: str | None, window: Window) -> dict[str, Any]:
    """The service's own figures, and its newest decisions. Raises typer.Exit."""
    stats = call(url, "GET", f"/stats?window={window.value}")
    return {**stats, "newest": call(url, "GET", f"/decisions?limit={NEWEST}")["decisions"]}


def page(found: Mapping[str, Any], where: str) -> RenderableType:
    """Everything within 80 columns."""
    from rich.console import Group
    from rich.text import Text

    return Group(
        Text(f"llmrouter {where}, the last {found['window']}, {time.strftime('%H:%M:%S')}"),
        Text(_money(found), style="bold"),
        Text(_rates(found), style="dim"),
        _sources(found),
        _targets(found),
        _newest(found["newest"]),
    )


def _money(found: Mapping[str, Any]) -> str:
    saved = f"saved {usd(found['savings_usd'])} ({percent(found['savings_rate'])})"
    return f"spent {usd(found['spend_usd'])}, {saved} net of the router LLM"


def _rates(found: Mapping[str, Any]) -> str:
    return (
        f"{found['decisions']:,} decisions, router LLM {usd(found['router_spend_usd'])}, "
        f"cache {percent(found['cache_hit_rate'])}, decided in {ms(found['decision_p50_ms'])} "
        f"(p99 {ms(found['decision_p99_ms'])})"
    )


def _sources(found: Mapping[str, Any]) -> RenderableType:
    table = _table("source", "decisions", "share")
    rates = found["source_rates"]
    for source, count in _most(found["by_source"]):
        table.add_row(source, f"{count:,}", percent(rates.get(source)))
    return table


def _targets(found: Mapping[str, Any]) -> RenderableType:
    table = _table("target", "decisions", "errors", "p50", "p95", "USD")
    spent: dict[str, float] = {}
    for targets in found["tasks"].values():
        for name, one in targets.items():
            spent[name] = spent.get(name, 0.0) + one["cost_usd"] + one["router_usd"]
    for name, count in _most({**dict.fromkeys(spent, 0), **found["by_target"]}):
        about = found["targets"].get(name, {})
        table.add_row(
            name,
            f"{count:,}",
            str(about.get("errors", 0)),
            ms(about.get("latency_p50_ms")),
            ms(about.get("latency_p95_ms")),
            usd(spent.get(name, 0.0)),
        )
    return table


def _newest(decisions: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = _table("newest", "source", "task", "at")
    for one in decisions[:NEWEST]:
        at = one.get("created_at")
        shown = NONE if at is None else time.strftime("%H:%M:%S", time.localtime(at))
        table.add_row(one["target"], one["source"], one["task"] or NONE, shown)
    return table


def _table(first: str, *others: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, min_width=18, max_width=28, overflow="ellipsis", no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def usd(amount: float) -> str:
    """Dollars, with as many decimals as small amounts need."""
    return f"${amount:,.2f}" if abs(amount) >= 100 else f"${amount:.4f}"


def percent(share: float | None) -> str:
    """A share as a percentage."""
    return NONE if share is None else f"{share:.1%}"


def ms(value: float | None) -> str:
    """Milliseconds, or seconds where there are many."""
    if value is None:
        return NONE
    return f"{value / 1000:.1f} s" if value >= 10_000 else f"{value:.0f} ms"
