"""`llmrouter report` reads the journal, prints, and writes what was asked for."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from llmrouter.evaluation.usage_report.command import (
    DONE,
    NO,
    WRONG_USAGE,
    ReportOptions,
    run_report,
)
from llmrouter.journal.journal import LOG_NAME
from llmrouter.store.factory import open_store
from llmrouter.usage.drift import DAY

NOW = 100 * DAY


def _rated(at: float, score: float) -> dict[str, Any]:
    return {"kind": "feedback", "at": at, "task": "code", "target": "small", "score": score}


FALL = [_rated(NOW - 5 * DAY, 1.0)] * 40 + [_rated(NOW - DAY / 2, -1.0)] * 40


def test_the_journal_is_printed_and_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table, JSON and rows; the export holds decisions with recorded text alone."""
    address = f"disk:{tmp_path / 'store'}"
    decision = {
        "kind": "decision",
        "decision_id": "dec_1",
        "at": NOW,
        "task": "code",
        "target": "small",
        "source": "llm",
        "eligible": ["small"],
        "prompt": "hello",
        "router_usd": 0.5,
    }

    async def write() -> None:
        store = open_store(address)
        await store.append(LOG_NAME, [b"\n".join(map(orjson.dumps, [*FALL, decision]))], 10)
        await store.close()

    asyncio.run(write())
    options = ReportOptions(address, json=tmp_path / "r.json", export=tmp_path / "rows.jsonl")
    assert run_report(options, NOW) == DONE
    printed = capsys.readouterr().out
    assert "quality of small on code requests fell from 1.00 to 0.00" in printed
    written = orjson.loads((tmp_path / "r.json").read_bytes())
    assert (written["schema"], written["days"], written["against"]) == (2, 1.0, 7.0)
    (line,) = written["lines"]
    (fall,) = line["falls"]
    assert (fall["what"], fall["when"], fall["before"], fall["now"]) == ("quality", "now", 1.0, 0.0)
    assert line["now"]["router_usd"] == 0.5
    assert written["total"]["now"] == line["now"]
    (row,) = [orjson.loads(text) for text in (tmp_path / "rows.jsonl").read_bytes().splitlines()]
    assert row["prompt"] == "hello"


def test_an_empty_journal_is_1_and_a_bad_path_2(tmp_path: Path) -> None:
    """There is nothing to say, or nowhere to write it."""
    store = f"disk:{tmp_path / 'store'}"
    assert run_report(ReportOptions(store)) == NO
    assert run_report(ReportOptions(store, json=tmp_path / "no" / "x.json")) == WRONG_USAGE
