"""What the report says of two weeks of history, and that it can be read on a narrow terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from llmrouter.evaluation.usage_report.trend import amount, shadows, show, sparkline
from llmrouter.usage.drift import TimeSpan, TrendLine
from llmrouter.usage.drift import lines as drift_lines
from llmrouter.usage.totals import Entry, split
from tests.evaluation.histories import NOW, Quality, journal, slow, steady, sudden

LONG = "a-provider/a-family-of-models-with-a-long-name"


def lines(entries: Sequence[Entry], span: TimeSpan) -> list[TrendLine]:
    """The report's lines."""
    return drift_lines(split(entries, span.bounds()))


def flagged(quality: Quality) -> list[tuple[str, str, str]]:
    """Task, what, and when, of everything that fell."""
    found = lines(journal(quality), TimeSpan(NOW))
    return [(line.task, fall.what, when) for line in found for when, fall in line.falls]


def test_a_steady_fortnight_flags_nothing() -> None:
    """Chance is no drift."""
    assert flagged(steady) == []


def test_what_fell_since_yesterday_is_flagged_today() -> None:
    """And nothing else is."""
    assert flagged(sudden) == [("code", "quality", "now")]


def test_a_slow_decline_is_flagged_where_no_two_days_tell() -> None:
    """The last hours against the day before say nothing; a week against the week before does."""
    declining = [e for e in journal(slow) if e["task"] == "summarization"]
    assert not any(line.falls for line in lines(declining, TimeSpan(NOW, 0.2, 1.0)))
    ((when, fall),) = lines(declining, TimeSpan(NOW, 0.2, 7.0))[0].falls
    assert (when, fall.what) == ("lasting", "quality")
    assert fall.before > fall.now + 0.1


def test_today_and_last_week_are_told_apart() -> None:
    """Everything in a line is of its own days; costs hold router, audits, judges, rejections."""
    found = {line.task: line for line in lines(journal(steady), TimeSpan(NOW))}
    maths = found["math"]
    assert (maths.now.requests, maths.before.requests) == (50, 350)
    assert maths.now.judge == pytest.approx(50 * 1e-5)
    assert maths.before.rejected > 0
    assert maths.now.router > 0
    assert found["code"].before.audits > 0
    assert len(maths.daily) == 15
    assert maths.daily[-1] == maths.now.quality
    assert maths.now.quality_per_usd == pytest.approx(
        (maths.now.quality or 0) / (maths.now.spent / maths.now.requests)
    )


def test_a_shadow_is_reported_with_cost_and_estimated_quality() -> None:
    """Beside those of the live choice."""
    (shadow,) = shadows(journal(steady), TimeSpan(NOW))
    assert shadow["strategy"] == "rules"
    assert 0.5 < shadow["agreement"] < 1
    assert shadow["usd_per_request"] < shadow["live_usd_per_request"]
    assert shadow["estimated_quality"] < shadow["live_estimated_quality"] == pytest.approx(0.8)
    silent = {"kind": "shadow", "at": NOW, "strategy": "llm", "outcome": "failed", "target": "a"}
    (failed,) = shadows([silent], TimeSpan(NOW))
    assert (failed["requests"], failed["agreement"], failed["own_usd"]) == (1, None, 0.0)
    assert failed["usd_per_request"] is failed["estimated_quality"] is None


def printed(width: int, found: list[TrendLine]) -> str:
    """What `show` prints at a width."""
    out, span = Console(width=width, file=io.StringIO()), TimeSpan(NOW)
    show(out, found, shadows(journal(steady), span), span)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_no_figure_is_cut_off(width: int) -> None:
    """On a narrow terminal parts are left out instead; long names are folded."""
    entries = journal(sudden)
    for entry in entries:
        entry["target"] = LONG if entry["target"] == "large" else entry["target"]
    text = printed(width, lines(entries, TimeSpan(NOW)))
    assert "…" not in text
    assert all(len(row.rstrip()) <= width for row in text.splitlines())
    assert ("overhead" in text) is (width == 120)
    assert "▼ quality of" in text
    assert "fell from" in text
    assert "today (24 h) against the week before" in text
    assert all(part in text for part in ("router LLM", "audits", "judges", "rejected"))


def test_a_task_may_look_like_markup() -> None:
    """Callers name tasks; nothing of theirs is read as style."""
    entries = [{**e, "task": "[red]x[/red]"} for e in journal(sudden) if e["task"] == "code"]
    assert "[red]x[/red]" in printed(120, lines(entries, TimeSpan(NOW)))


def test_numbers_are_short() -> None:
    """Three digits, thousands and millions by a letter."""
    given = [None, 0.0, 0.00001234, 0.0231, 0.917, 861.4, 35_200.0, 1_750_000.0]
    assert [amount(one) for one in given] == [
        "–", "0", "1e-05", "0.0231", "0.917", "861", "35.2k", "1.75M",
    ]  # fmt: skip
    assert sparkline([0.0, None, 0.5, 1.0, 2.0]) == "▁·▅██"
