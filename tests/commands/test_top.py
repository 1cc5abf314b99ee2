"""`llmrouter top`: what it shows, within 80 columns."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from llmrouter.commands.top import ms, page, usd

STATS: dict[str, Any] = {
    "window": "hour",
    "decisions": 1234,
    "spend_usd": 0.5,
    "router_spend_usd": 0.1,
    "savings_usd": 1.5,
    "savings_rate": 0.75,
    "cache_hit_rate": 0.25,
    "decision_p50_ms": 12.0,
    "decision_p99_ms": 20_000.0,
    "by_source": {"llm": 34, "cache": 1200},
    "source_rates": {"llm": 0.03, "cache": 0.97},
    "by_target": {"small": 1200, "a-target-with-a-name-of-forty-characters": 34},
    "targets": {"small": {"errors": 2, "latency_p50_ms": 99.0, "latency_p95_ms": 400.0}},
    "tasks": {
        "math": {"small": {"cost_usd": 0.2, "router_usd": 0.05}},
        "writing": {"small": {"cost_usd": 0.05, "router_usd": 0.0}},
    },
    "newest": [
        {"target": "small", "source": "llm", "task": "math", "created_at": 0.0},
        {"target": "small", "source": "default", "task": ""},
    ],
}


def shown(found: dict[str, Any]) -> str:
    """The page as text."""
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(page(found, "http://127.0.0.1:8080/llm"))
    return out.getvalue()


def test_spend_sources_and_targets_are_on_one_page_of_80_columns() -> None:
    """The busiest first; a target's spend is that of all its tasks, decisions included."""
    text = shown(STATS)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "spent $0.5000, saved $1.5000 (75.0%) net of the router LLM" in text
    rows = [line.split() for line in text.splitlines() if line.strip()]
    assert ["cache", "1,200", "97.0%"] in rows
    assert ["small", "1,200", "2", "99", "ms", "400", "ms", "$0.3000"] in rows
    first = [row[0] for row in rows]
    assert first.index("cache") < first.index("llm")


def test_a_service_that_has_done_nothing_has_a_page_too() -> None:
    """Dashes where there is nothing to measure."""
    empty = {name: type(value)() for name, value in STATS.items()}
    text = shown({**empty, "decision_p50_ms": None, "decision_p99_ms": None})
    assert "0 decisions" in text
    assert "decided in – (p99 –)" in text


def test_amounts_are_short_enough_to_compare() -> None:
    """Small sums keep their decimals, long times become seconds."""
    assert [usd(0.0), usd(0.00012), usd(1234.5)] == ["$0.0000", "$0.0001", "$1,234.50"]
    assert [ms(None), ms(12.4), ms(12_400.0)] == ["–", "12 ms", "12.4 s"]
