"""`llmrouter report --policy` from a journal on disk to a table and JSON."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.evaluation.offpolicy.command import (
    DONE,
    NO,
    WRONG_USAGE,
    OffPolicyOptions,
    run_offpolicy,
)
from llmrouter.journal.journal import LOG_NAME
from llmrouter.store.factory import open_store

PROMPTS = Path(__file__).parents[3] / "prompts"
CHEAP, DEAR = "gpt-6-luna", "claude-opus-5-5"


def entries(rows: int, propensity: bool = True) -> list[dict[str, Any]]:
    """Decisions of the last hour, a third of them explored; the dear one is right more often."""
    dice = random.Random(1)
    out: list[dict[str, Any]] = []
    for number in range(rows):
        target, odds = (CHEAP, 2 / 3) if dice.random() < 2 / 3 else (DEAR, 1 / 3)
        right = dice.random() < {CHEAP: 0.4, DEAR: 0.9}[target]
        decision = {
            "kind": "decision", "at": time.time() - 3600, "decision_id": f"d{number}",
            "tenant": "", "key": "", "source": "llm", "target": target, "task": "code",
            "confidence": None, "propensity": odds if propensity else 1.0,
            "fingerprint": f"f{number}", "eligible": [CHEAP, DEAR], "estimate_usd": 0.001,
            "features": {"input_tokens": 9, "turns": 1, "tools": False, "words": 4, "code": True,
                         "math": False, "language": "en"},
        }  # fmt: skip
        score = {"kind": "feedback", "decision_id": f"d{number}", "score": 1.0 if right else -1.0}
        out += [decision, score]
    return out


def a_store(directory: Path, told: list[dict[str, Any]]) -> str:
    """A store whose journal holds these entries, the last write cut off."""
    address = f"disk:{directory / 'store'}"

    async def write() -> None:
        store = open_store(address)
        lines = b"\n".join([*map(orjson.dumps, told), b'{"kind":"decis'])
        await store.append(LOG_NAME, [lines], 10)
        await store.close()

    asyncio.run(write())
    return address


def run(store: str, *policies: str, **over: Any) -> int:
    """The command on the shipped catalog."""
    options = OffPolicyOptions(store, PROMPTS, policies, **over)
    return run_offpolicy(options, lambda body: parse(body, Endpoint.COMPLETE))


def test_the_table_and_json_say_what_a_policy_would_have_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Always the dear one would have been right on nine of ten; it says what that rests on."""
    path = tmp_path / "out.json"
    store = a_store(tmp_path, entries(600))
    assert run(store, f"always-{DEAR}", "learned", "rules", json=path) == DONE
    told = capsys.readouterr()
    assert "600 were open to exploring, 0 could not have come out otherwise" in told.out
    assert f"always-{DEAR}" in told.out
    assert "600 of 600 were recorded without their text" in told.out
    assert "no learned model is stored" in told.out
    assert told.err == ""
    found = orjson.loads(path.read_bytes())
    assert (found["decisions"], found["explorable"], found["graded"]) == (600, 600, 600)
    logged, dear, learned, rules = found["policies"]
    quality = dear["quality"]["dr"]
    assert quality["low"] < 0.9 < quality["high"]
    assert quality["low"] > logged["quality"]["ips"]["high"]  # better than what was done
    assert dear["quality"]["effective"] == pytest.approx(dear["quality"]["matched"])
    assert (learned["rows"], learned["quality"]["ips"]["value"]) == (0, None)
    assert rules["quality"]["dr"]["value"] == pytest.approx(0.4, abs=0.08)  # the default target


def test_clipped_weights_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """How many, and what that does."""
    assert run(a_store(tmp_path, entries(60)), f"always-{DEAR}", clip=2.0) == DONE
    told = capsys.readouterr().out
    assert "weights ≤ 2" in told
    assert "weights were cut" in told


def test_where_nothing_was_explored_the_answer_is_no(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what to switch on."""
    assert run(a_store(tmp_path, entries(20, propensity=False)), "all") == NO
    told = capsys.readouterr().out
    assert "20 could not have come out otherwise" in told
    assert "explore_rate" in told


def test_days_bound_what_is_looked_at(tmp_path: Path) -> None:
    """An hour ago is outside the last minutes."""
    assert run(a_store(tmp_path, entries(20)), "rules", days=0.01) == NO


def test_wrong_usage_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy that does not exist, a file that cannot be written, a catalog that cannot serve."""
    store = a_store(tmp_path, entries(5))
    assert run(store, "always-gpt-2") == WRONG_USAGE
    assert "no policy 'always-gpt-2'; there are: all, learned, rules, always-" in (
        capsys.readouterr().err
    )
    assert run(store, "rules", json=tmp_path / "no" / "such.json") == WRONG_USAGE
    broken = OffPolicyOptions(store, tmp_path, ("rules",))
    assert run_offpolicy(broken, lambda body: parse(body, Endpoint.COMPLETE)) == NO


def test_a_store_that_cannot_be_opened_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in its place."""
    (tmp_path / "file").write_text("x")
    assert run(f"disk:{tmp_path / 'file'}", "rules") == NO
    assert "failed" in capsys.readouterr().err
