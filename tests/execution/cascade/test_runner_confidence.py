"""How sure an answer is of itself: asked for, calibrated, acted on, taken out again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest

from llmrouter.domain.catalog import Acceptance, Cascade
from llmrouter.domain.target import Target
from llmrouter.errors import UpstreamRefused
from llmrouter.execution.cascade.confidence_store import StoredRecord
from llmrouter.execution.cascade.verification import Verifier
from llmrouter.execution.executor import Executor
from llmrouter.store.memory import MemoryStore
from tests.execution.conftest import FORMS, Bench, climb, collect
from tests.fakes import a_request
from tests.faulty import completion

SHORT = Acceptance(checks=({"min_chars": 100},))


class Recorded:
    """A record that says the same of every reading and keeps what it is told."""

    def __init__(self, worth: float | None = None) -> None:
        self.worth = worth
        self.asked: list[tuple[str, str, float]] = []
        self.outcomes: list[tuple[str, dict[str, float], bool]] = []
        self.answers: list[tuple[str, str, dict[str, float]]] = []

    def probability(self, target: Target, measure: str, reading: float) -> float:
        """What it was made with, else the reading."""
        self.asked.append((target.id, measure, reading))
        return reading if self.worth is None else self.worth

    def verified(self, target: Target, readings: Mapping[str, float], good: bool) -> None:
        """Keep an outcome."""
        self.outcomes.append((target.id, dict(readings), good))

    def served(self, decision_id: str, target: Target, readings: Mapping[str, float]) -> None:
        """Keep who was served."""
        self.answers.append((decision_id, target.id, dict(readings)))


def sure(bench: Bench, name: str, *margins: float, text: str = "Four.") -> dict[str, Any]:
    """An upstream whose answer comes with log-probabilities; what its target is made with."""
    tokens: list[dict[str, Any]] = [{"logprob": -0.5}, {"logprob": -1.5}]
    for token, margin in zip(tokens, margins, strict=False):
        likeliest = [(1 + margin) / 2, (1 - margin) / 2]
        token["top_logprobs"] = [{"logprob": math.log(p)} for p in likeliest]
    message = {"role": "assistant", "content": text}
    choice = {"message": message, "finish_reason": "stop", "logprobs": {"content": tokens}}
    bench.upstream.bodies[name] = completion(choices=[choice])
    return {name: {"capabilities": frozenset({"logprobs"})}}


@pytest.mark.parametrize(("worth", "target"), [(0.9, "sure"), (0.2, "ok")])
async def test_low_confidence_escalates_as_calibrated(
    bench: Bench, worth: float, target: str
) -> None:
    """The mean log-probability counts for what it has been worth at this target."""
    record = Recorded(worth)
    execution = climb(
        bench, "sure", "ok", accept=Acceptance(min_confidence=0.5),
        verifier=Verifier(record=record), targets=sure(bench, "sure"),
    )  # fmt: skip
    await collect(execution)
    assert execution.target == target
    assert record.asked[0] == ("sure", "confidence", pytest.approx(math.exp(-1.0)))
    sent = json.loads(bench.upstream.seen[0].body)
    assert (sent["logprobs"], "top_logprobs" in sent) == (True, False)
    assert execution.completion is not None
    assert execution.completion.attempts[0].confidence == worth
    assert record.outcomes == []


@pytest.mark.parametrize(("margin", "target"), [(0.9, "sure"), (0.2, "ok")])
async def test_a_close_decision_escalates(bench: Bench, margin: float, target: str) -> None:
    """`min_margin` alone: the two likeliest tokens are asked for, and their distance counts."""
    execution = climb(
        bench, "sure", "ok", accept=Acceptance(min_margin=0.5),
        targets=sure(bench, "sure", margin, 0.99),
    )  # fmt: skip
    await collect(execution)
    assert execution.target == target
    assert json.loads(bench.upstream.seen[0].body)["top_logprobs"] == 2
    assert execution.completion is not None
    assert execution.completion.attempts[0].confidence == pytest.approx(margin)


@pytest.mark.parametrize("asked", [{}, {"logprobs": True}], ids=["silent", "asked"])
async def test_what_was_asked_for_on_the_services_account_is_taken_out_again(
    bench: Bench, asked: dict[str, bool]
) -> None:
    """Log-probabilities reach a caller only where the caller asked for them."""
    targets = sure(bench, "sure", 0.9, 0.9)
    execution = climb(
        bench, "sure", "ok", accept=Acceptance(min_margin=0.5), targets=targets,
        request=a_request(**asked),
    )  # fmt: skip
    (event,) = await collect(execution)
    told = json.loads(event.data)["choices"][0].pop("logprobs")
    assert (told is not None) is bool(asked)
    assert b'"content": "Four."' in event.data


async def test_what_the_other_signals_find_is_told_with_the_readings(bench: Bench) -> None:
    """A rejected and a served answer, each with how sure it was; the caller's answer by its id."""
    record = Recorded()
    targets = sure(bench, "short", 0.4, 0.6) | sure(bench, "sure", 0.8, 0.9, text="x" * 200)
    execution = climb(
        bench, "short", "sure", accept=SHORT, verifier=Verifier(record=record), targets=targets,
    )  # fmt: skip
    await collect(execution)
    mean = pytest.approx(math.exp(-1.0))
    assert record.outcomes == [
        ("short", {"confidence": mean, "margin": pytest.approx(0.4)}, False),
        ("sure", {"confidence": mean, "margin": pytest.approx(0.8)}, True),
    ]
    assert record.answers == [("d-1", "sure", {"confidence": mean, "margin": pytest.approx(0.8)})]


async def test_a_target_learns_what_its_own_confidence_is_worth(bench: Bench) -> None:
    """Sure and rejected thirty times: the thirty-first is not believed, another target's is."""
    record = StoredRecord(MemoryStore())
    targets = sure(bench, "sure", 0.9, 0.9) | sure(bench, "ok2", 0.9, 0.9)
    accept = Acceptance(min_margin=0.5, checks=({"min_chars": 100},))
    for _ in range(30):
        await collect(
            climb(bench, "sure", accept=accept, verifier=Verifier(record=record), targets=targets)
        )
    trusting = Acceptance(min_margin=0.5)
    for name, outcome in (("sure", "rejected"), ("ok2", "ok")):
        execution = climb(
            bench, name, "ok", accept=trusting, verifier=Verifier(record=record), targets=targets
        )
        await collect(execution)
        assert execution.completion is not None
        assert execution.completion.attempts[0].outcome == outcome


@FORMS
async def test_a_server_without_log_probabilities_is_asked_again_without(
    bench: Bench, stream: bool
) -> None:
    """An option the service added must not cost the caller the answer, now or next time."""
    bench.upstream.script["ok"] = ["no_logprobs", "ok", "ok"]
    executor = bench.make()
    settings = Cascade(order=("ok",), accept=Acceptance(min_margin=0.5))
    for _ in range(2):
        execution = bench.run(
            "ok", executor=executor, cascade=True, cascade_settings=settings, stream=stream,
            targets={"ok": {"capabilities": frozenset({"logprobs"})}},
        )  # fmt: skip
        assert await collect(execution)
    assert ["top_logprobs" in json.loads(s.body) for s in bench.upstream.seen] == [
        True, False, False,
    ]  # fmt: skip


async def asked_for_confidence(bench: Bench, executor: Executor) -> None:
    """One cascade at a target that does not say whether it gives log-probabilities."""
    settings = Cascade(order=("ok",), accept=Acceptance(min_confidence=0.5))
    execution = bench.run("ok", executor=executor, cascade=True, cascade_settings=settings)
    await collect(execution)


async def test_log_probabilities_are_asked_on_the_chance(bench: Bench) -> None:
    """A refusal that names nothing is tried without them; where that helps, it is remembered."""
    bench.upstream.script["ok"] = ["s400", "ok", "ok"]
    executor = bench.make()
    for _ in range(2):
        await asked_for_confidence(bench, executor)
    assert ["logprobs" in json.loads(s.body) for s in bench.upstream.seen] == [True, False, False]


async def test_a_callers_own_mistake_is_not_held_against_log_probabilities(bench: Bench) -> None:
    """Refused with and without them: the caller hears of it, and the next one is asked again."""
    bench.upstream.script["ok"] = ["s400", "s400", "ok"]
    executor = bench.make()
    with pytest.raises(UpstreamRefused):
        await asked_for_confidence(bench, executor)
    await asked_for_confidence(bench, executor)
    assert ["logprobs" in json.loads(s.body) for s in bench.upstream.seen] == [True, False, True]
