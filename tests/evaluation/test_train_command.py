"""`llmrouter train` stores what the live loop loads, and goes back."""

import asyncio
import random
from pathlib import Path

import orjson
import pytest

from llmrouter.domain.ports import Store
from llmrouter.evaluation.train_command import DONE, NO, WRONG_USAGE, TrainOptions, run_train
from llmrouter.learning.journal import LOG_NAME
from llmrouter.learning.snapshot import CURRENT, Snapshot, trained_at
from llmrouter.store.open import open_store


def _rows(path: Path, count: int, targets: tuple[str, str] = ("small", "large")) -> Path:
    dice = random.Random(0)
    words = ["river", "stone", "cloud", "amber", "maple", "violet"]
    lines = [
        orjson.dumps(
            {
                "id": n,
                "prompt": " ".join(dice.choices(words, k=9)),
                "outcomes": {targets[0]: n % 2, targets[1]: 1},
            }
        )
        for n in range(count)
    ]
    path.write_bytes(b"\n".join(lines))
    return path


def _stored(address: str) -> bytes | None:
    async def read() -> bytes | None:
        store: Store = open_store(address)
        try:
            return await store.get(CURRENT)
        finally:
            await store.close()

    return asyncio.run(read())


def test_a_model_is_stored_and_rolled_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two trainings, then back to the first, which counts as newer than both."""
    store = f"disk:{tmp_path / 'store'}"
    assert run_train([_rows(tmp_path / "one.jsonl", 40)], TrainOptions(store)) == DONE
    assert "best single target, large" in capsys.readouterr().out
    first = _stored(store)
    other = _rows(tmp_path / "two.jsonl", 30, ("tiny", "huge"))
    assert run_train([other], TrainOptions(store)) == DONE
    assert run_train([], TrainOptions(store, rollback=True)) == DONE
    back = _stored(store)
    assert first is not None
    assert back is not None
    assert Snapshot.from_bytes(back).model.targets == ("large", "small")
    assert Snapshot.from_bytes(back).learned == 40
    assert trained_at(back) > trained_at(first) > 0


def test_the_journal_teaches_grades_and_labels(tmp_path: Path) -> None:
    """Decisions of the router LLM with recorded text are enough; without text there is nothing."""
    address = f"disk:{tmp_path / 'store'}"
    entries = [
        {
            "kind": "decision",
            "decision_id": f"dec_{n}",
            "source": "llm",
            "target": "small",
            "task": "code",
            "eligible": ["small", "large"],
            "prompt": f"question number {n}",
        }
        for n in range(20)
    ]

    async def write(some: list[dict[str, object]]) -> None:
        store = open_store(address)
        await store.append(LOG_NAME, [b"\n".join(map(orjson.dumps, some))], 100)
        await store.close()

    asyncio.run(write([{k: v for k, v in one.items() if k != "prompt"} for one in entries]))
    assert run_train([], TrainOptions(address, journal=True)) == NO
    asyncio.run(write(entries))
    assert run_train([], TrainOptions(address, journal=True)) == DONE
    stored = _stored(address)
    assert stored is not None
    assert Snapshot.from_bytes(stored).model.targets == ("large", "small")


def test_wrong_usage_and_broken_files_are_2(tmp_path: Path) -> None:
    """Nothing to learn from, a contradiction, a file that is not there."""
    store = f"disk:{tmp_path / 'store'}"
    assert run_train([], TrainOptions(store)) == WRONG_USAGE
    assert run_train([tmp_path / "x.jsonl"], TrainOptions(store, rollback=True)) == WRONG_USAGE
    assert run_train([tmp_path / "x.jsonl"], TrainOptions(store)) == WRONG_USAGE
    assert run_train([], TrainOptions(store, rollback=True)) == NO
    assert run_train([_rows(tmp_path / "few.jsonl", 4)], TrainOptions(store)) == NO
