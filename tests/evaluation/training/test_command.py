"""`llmrouter train` stores what the live loop loads, and goes back."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.catalog.loader import load
from llmrouter.domain.chat import ANONYMOUS
from llmrouter.domain.decision import RoutingContext, Source
from llmrouter.domain.interfaces import Store
from llmrouter.evaluation.benchmark.dataset import Row
from llmrouter.evaluation.training.command import DONE, NO, WRONG_USAGE, TrainOptions, run_train
from llmrouter.evaluation.training.labelling import of_row
from llmrouter.features.extractor import Extractor
from llmrouter.features.fingerprint import Fingerprinter
from llmrouter.journal import export
from llmrouter.journal.journal import LOG_NAME, Journal, JournalOptions
from llmrouter.learning.online.online_learner import OnlineLearner
from llmrouter.learning.online.snapshot import LATEST, Snapshot, current
from llmrouter.store.factory import open_store
from tests.catalog.prompts_dir import written
from tests.evaluation.embedding_server import serving
from tests.fakes import RecordingObserver, a_catalog, a_decision, a_request

EXTRACTOR = Extractor(Fingerprinter(bytes(32)))


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


def _stored(address: str, key: str = "") -> bytes | None:
    async def read() -> bytes | None:
        store: Store = open_store(address)
        try:
            return await (store.get(key) if key else current(store))
        finally:
            await store.close()

    return asyncio.run(read())


def test_a_model_is_stored_and_rolled_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two trainings, then back to the first, which counts as newer than both."""
    store = f"disk:{tmp_path / 'store'}"
    assert run_train([_rows(tmp_path / "one.jsonl", 40)], TrainOptions(store)) == DONE
    printed = capsys.readouterr().out
    assert "fitted on 40 rows with hashing" in printed
    assert "best single target, large" in printed
    assert "takes it over at its next check" in printed
    assert "it proposes from then on" in printed
    first, named = _stored(store), _stored(store, LATEST)
    other = _rows(tmp_path / "two.jsonl", 30, ("tiny", "huge"))
    assert run_train([other], TrainOptions(store)) == DONE
    assert run_train([], TrainOptions(store, rollback=True)) == DONE
    back = _stored(store)
    assert named != _stored(store, LATEST), "a running service sees that there is another"
    assert first is not None
    assert back is not None
    assert Snapshot.from_bytes(back).model.targets == ("large", "small")
    assert Snapshot.from_bytes(back).learned == 40
    assert Snapshot.from_bytes(back).trained_at > Snapshot.from_bytes(first).trained_at > 0


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


ROUTING = """\
default: small
rules:
  - name: sums
    when: {task: math}
    route: large
  - name: greetings
    when: {max_words: 3}
    route: small
learned: {target_agreement: 0.9}
"""
SUMS = ("What is {} + {}?", "Add up {} + {}.", "Compute {} * {}, please.", "{} + {} = ?")
WORDS = ("hello {}", "good day {}", "thanks {}", "hi {}")
OTHERS = ("Write a long story about river number {} and its {} bridges, with a happy end.",)


def _prompts(count: int) -> list[str]:
    dice = random.Random(2)
    kinds = (SUMS, WORDS, OTHERS)
    return [
        dice.choice(kinds[n % 3]).format(dice.randrange(900), dice.randrange(900))
        for n in range(count)
    ]


def _asked(path: Path, prompts: list[str], **over: Any) -> Path:
    lines = [orjson.dumps({"id": n, "prompt": p, **over}) for n, p in enumerate(prompts)]
    path.write_bytes(b"\n".join(lines))
    return path


def test_rules_label_what_nobody_graded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """How many by which rule, how many by none; the model answers by itself where it is proved."""
    options = TrainOptions(
        f"disk:{tmp_path / 'store'}", written(tmp_path / "p", routing=ROUTING), from_rules=True
    )
    assert run_train([_asked(tmp_path / "asked.jsonl", _prompts(450))], options) == DONE
    printed = capsys.readouterr().out
    assert "labelled 300 of 450 prompts by rules (" in printed
    assert "sums 150" in printed
    assert "greetings 150" in printed
    assert "150 matched none" in printed
    assert "held out: the rules' target for" in printed
    assert "it answers chat, math requests by itself from then on" in printed
    stored = _stored(options.store)
    assert stored is not None
    snapshot = Snapshot.from_bytes(stored)
    assert set(snapshot.model.targets) == {"large", "small"}
    assert len(snapshot.comparisons) == snapshot.learned <= 300
    asyncio.run(_answers_alone(options.store, tmp_path / "p"))


async def _answers_alone(address: str, prompts: Path) -> None:
    """`strategy: learned` works from what the rules taught, for requests in words of their own."""
    store = open_store(address)
    learner = OnlineLearner(store, RecordingObserver(), lambda: 0.9)
    assert await learner.load()
    catalog = load(prompts)
    for text, target in (("What is 31 + 7?", "large"), ("hello 77", "small")):
        proposal = learner.propose(of_row(Row("1", text), catalog))
        assert proposal is not None
        assert (proposal.target, proposal.trusted) == (target, True)
    await store.close()


def test_recorded_requests_are_labelled_where_no_file_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the rules of today; requests whose words were not kept are not there to label."""
    address = f"disk:{tmp_path / 'store'}"

    async def write() -> None:
        store = open_store(address)
        journal = Journal(store, JournalOptions(record_prompts=True))
        unkept = Journal(store)
        for n, text in enumerate(_prompts(60)):
            note = (journal if n % 4 else unkept).decided
            decision = a_decision("small", decision_id=f"dec_{n}", source=Source.DEFAULT)
            request = a_request(text)
            features = EXTRACTOR.features(request, ANONYMOUS)
            note(decision, RoutingContext(request, features, a_catalog(), ("small", "large")))
        await journal.flush()
        await unkept.flush()
        await store.close()

    asyncio.run(write())
    prompts = written(tmp_path / "p", routing=ROUTING)
    options = TrainOptions(address, prompts, from_rules=True)
    assert run_train([], options, lambda body: parse(body, Endpoint.COMPLETE)) == DONE
    printed = capsys.readouterr().out
    assert "labelled 30 of 45 prompts by rules" in printed
    assert "15 matched none" in printed


def test_outcomes_outrank_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A graded row is never labelled."""
    store = f"disk:{tmp_path / 'store'}"
    options = TrainOptions(store, written(tmp_path / "p", routing=ROUTING), from_rules=True)
    graded = _rows(tmp_path / "graded.jsonl", 40)
    assert run_train([graded], options) == DONE
    assert "labelled 0 of 0 prompts" in capsys.readouterr().out


def test_what_cannot_be_labelled_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No rule, a broken catalog, rows without outcomes and without `--from-rules`."""
    store = f"disk:{tmp_path / 'store'}"
    asked = _asked(tmp_path / "asked.jsonl", _prompts(30))
    bare = written(tmp_path / "bare", routing="default: small\n")
    assert run_train([asked], TrainOptions(store, bare, from_rules=True)) == NO
    assert "labelled 0 of 30 prompts by rules; 30 matched none" in capsys.readouterr().out
    assert run_train([asked], TrainOptions(store, bare)) == NO
    assert "--from-rules labels them" in capsys.readouterr().err
    broken = written(tmp_path / "broken", routing="default: nobody\n")
    assert run_train([asked], TrainOptions(store, broken, from_rules=True)) == NO
    assert "routing.yaml:1" in capsys.readouterr().err
    assert run_train([asked], TrainOptions(store, tmp_path / "none", from_rules=True)) == NO


def test_the_service_s_encoder_is_fitted_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """routing.yaml's, by a server on a socket; another one gets a note; nobody there is exit 2."""
    with serving() as url:
        named = f"openai:tiny@{url}"
        prompts = written(
            tmp_path / "p", routing=f"default: small\nlearned: {{encoder: '{named}'}}\n"
        )
        options = TrainOptions(f"disk:{tmp_path / 'store'}", prompts)
        assert run_train([_rows(tmp_path / "r.jsonl", 40)], options) == DONE
        assert f"fitted on 40 rows with {named}" in capsys.readouterr().out
        stored = _stored(options.store)
        assert stored is not None
        assert Snapshot.from_bytes(stored).model.encoder.name == named
        other = replace(options, encoder="hashing")
        assert run_train([_rows(tmp_path / "r.jsonl", 40)], other) == DONE
        assert f"note: routing.yaml names the encoder {named}" in capsys.readouterr().out
    assert run_train([_rows(tmp_path / "r.jsonl", 40)], options) == WRONG_USAGE
    assert "does not answer" in capsys.readouterr().err
    odd = replace(options, encoder="bert")
    assert run_train([_rows(tmp_path / "r.jsonl", 40)], odd) == WRONG_USAGE


def test_a_journal_export_is_a_dataset(tmp_path: Path) -> None:
    """What `report --export` writes, grades and all."""
    entries: list[dict[str, Any]] = []
    for n in range(30):
        about = {"decision_id": f"dec_{n}", "task": "code", "target": "small"}
        eligible = ["small", "large"]
        entries.append(
            {
                **about,
                "kind": "decision",
                "source": "llm",
                "eligible": eligible,
                "prompt": f"ask {n}",
            }
        )
        if n % 2:
            entries.append({**about, "kind": "feedback", "score": 1.0, "preferred": None})
    exported = tmp_path / "rows.jsonl"
    exported.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in export.rows(entries)))
    store = f"disk:{tmp_path / 'store'}"
    assert run_train([exported], TrainOptions(store)) == DONE
    stored = _stored(store)
    assert stored is not None
    assert Snapshot.from_bytes(stored).learned == 15
