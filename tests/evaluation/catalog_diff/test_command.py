"""`llmrouter catalog diff` shows what was edited and what that would do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.decision import Source
from llmrouter.evaluation.catalog_diff.command import DONE, NO, DiffOptions, run_diff
from llmrouter.store.factory import open_store
from tests.catalog.prompts_dir import ROUTING, SMALL, written
from tests.evaluation.journaled import journaled

CHEAP = ROUTING.replace("task: math", "task: chat")
BODIES = [{"prompt": "What is 12 * 13?"}, {"prompt": "Tell me about horses.", "tools": [{}]}]


def read(body: bytes) -> ChatRequest:
    """As the service reads a body."""
    return parse(body, Endpoint.COMPLETE)


@pytest.fixture
def options(tmp_path: Path) -> DiffOptions:
    """Two equal directories and a store that recorded two requests with their text."""
    address = f"disk:{tmp_path / 'store'}"

    async def record() -> None:
        store = open_store(address)
        await journaled(BODIES, record=True, store=store, source=Source.LLM)
        await store.close()

    asyncio.run(record())
    return DiffOptions(written(tmp_path / "now"), written(tmp_path / "edited"), address)


def test_equal_catalogs_are_said_to_be_equal(
    options: DiffOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nobody changes target."""
    assert run_diff(options, read) == DONE
    out = capsys.readouterr().out
    assert out.startswith("0 of 2 recorded requests change target, estimated cost unchanged at $")
    assert "\nthe two catalogs say the same\n" in out
    assert "replayed 2 recorded since 2023-11-14 22:13 UTC, 2 with their text" in out
    assert "0 change target" in out


def test_what_an_edit_does_is_printed(
    options: DiffOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """Changes, moves, tasks, refusals, eligibility, examples; nothing on standard error."""
    small = SMALL.replace("capabilities: [tools]", "capabilities: []")
    written(options.edited, routing=CHEAP, small=small)
    assert run_diff(options, read) == DONE
    out, err = capsys.readouterr()
    assert err == ""
    for line in (
        "target small: capabilities [tools] → []",
        "rule sums: when.task [math] → [chat]",
        "  2 change target; estimated cost",
        " d-0  large → small: as recorded (llm)",
        "    “What is 12 * 13?”",
        " d-1  small → large: default 'small' is not eligible, 'large' is nearest in price",
        "note: 1 no longer have what decided them",
    ):
        assert line in out, out
    assert "small is out for   lacks tools" in out


def test_the_report_as_json_is_all_of_standard_output(
    options: DiffOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe can read it."""
    written(options.edited, routing=CHEAP)
    as_json = DiffOptions(options.directory, options.edited, options.store, last=1, json=True)
    assert run_diff(as_json, read) == DONE
    document = orjson.loads(capsys.readouterr().out)
    assert (document["recorded"], document["moved"]) == (1, 0)
    assert document["changes"][0]["where"] == "rule sums"


def test_without_records_the_changes_are_shown_and_how_to_record(
    options: DiffOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A first edit comes before the first request."""
    written(options.edited, routing=CHEAP)
    empty = DiffOptions(options.directory, options.edited, f"disk:{tmp_path / 'none'}")
    assert run_diff(empty, read) == DONE
    out = capsys.readouterr().out
    assert "rule sums: when.task [math] → [chat]" in out
    assert "no request is recorded in disk:" in out
    assert "LLMROUTER_RECORD_PROMPTS=true" in out


def test_an_invalid_edit_is_1_with_every_problem(
    options: DiffOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """By file and line, as `catalog check` says it."""
    written(options.edited, small=SMALL.replace("8000", "many"))
    assert run_diff(options, read) == NO
    assert f"{options.edited}/catalog/small.md:7: " in capsys.readouterr().out


def test_a_store_that_cannot_be_read_is_1(
    options: DiffOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason on standard error."""
    lost = DiffOptions(options.directory, options.edited, "tape:drive0")
    assert run_diff(lost, read) == NO
    assert "tape:drive0" in capsys.readouterr().err
