"""Cheapest acceptable first, on real sockets: what is held back, rejected, returned and paid."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmrouter.domain.catalog import Acceptance, Cascade, Fallback, RouterLLM
from llmrouter.domain.chat import RouterOptions
from llmrouter.domain.interfaces import ChatAnswer
from llmrouter.domain.target import Latency, Price
from llmrouter.errors import RouterLLMFailed, UpstreamFailed, UpstreamRefused
from llmrouter.execution.cascade.verification import Verifier
from tests.execution.conftest import FORMS, LONG, Bench, climb, collect, until
from tests.fakes import ScriptedChatModel, a_request
from tests.faulty import DONE, END, ROLE, WORDS, completion

SHORT = Acceptance(checks=({"min_chars": 100},))
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "n",
        "schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
}


@FORMS
async def test_an_accepted_answer_is_replayed_as_received(bench: Bench, stream: bool) -> None:
    """The cheap answer passes, so nothing else is asked and no byte is changed."""
    execution = climb(bench, "ok", "ok2", accept=Acceptance(), stream=stream)
    body = b"".join(event.data for event in await collect(execution))
    assert body == (b"".join((ROLE, *WORDS, END, DONE)) if stream else completion())
    assert bench.upstream.hits("ok2") == 0
    assert execution.completion is not None
    assert [a.outcome for a in execution.completion.attempts] == ["ok"]


@pytest.mark.parametrize(
    ("accept", "signals"),
    [
        (SHORT, [("check",), ("check",)]),
        (Acceptance(), [()]),
        (Acceptance(checks=({"max_chars": 900},)), [("check",)]),
    ],
)
async def test_an_attempt_names_what_judged_it(
    bench: Bench, accept: Acceptance, signals: list[tuple[str, ...]]
) -> None:
    """A rejected one what found fault, an accepted one what it stood up to, if anything."""
    execution = climb(bench, "ok", "long_answer", accept=accept)
    await collect(execution)
    assert execution.completion is not None
    assert [attempt.signals for attempt in execution.completion.attempts] == signals


async def test_only_a_judge_that_answered_is_a_signal(bench: Bench) -> None:
    """An answer accepted without the judge was not judged."""
    for said, signals in (('{"score": 0.9, "reason": "good"}', ("judge",)), (None, ())):
        model = ScriptedChatModel(RouterLLMFailed("timeout") if said is None else said)
        execution = climb(
            bench, "ok", "ok2", accept=Acceptance(judge=True), verifier=Verifier(judge=model),
            router=RouterLLM("tiny", "http://127.0.0.1:9/v1"),
        )  # fmt: skip
        await collect(execution)
        assert execution.completion is not None
        assert execution.completion.attempts[0].signals == signals


@FORMS
async def test_a_rejected_answer_escalates_and_stays_on_the_account(
    bench: Bench, stream: bool
) -> None:
    """The caller sees the second answer alone and pays for both; the step is a span event."""
    execution = climb(bench, "ok", "long_answer", accept=SHORT, stream=stream)
    body = b"".join(event.data for event in await collect(execution))

    assert b"thorough" in body
    assert b"ur." not in body
    completed = execution.completion
    assert completed is not None
    assert [(a.target, a.outcome) for a in completed.attempts] == [
        ("ok", "rejected"),
        ("long_answer", "ok"),
    ]
    assert "check: 5 characters" in completed.attempts[0].reason
    assert completed.cost_usd == pytest.approx(44e-6)
    assert completed.target == "long_answer"
    name, attributes = bench.observer.spans[0].events[0]
    assert name == "llmrouter.escalation"
    assert attributes["llmrouter.target"] == "long_answer"
    assert ("escalations", 1, {"target": "ok", "signal": "check"}) in bench.observer.counts
    assert completed.phases_ms is not None
    assert "verify" in completed.phases_ms


@FORMS
async def test_when_nothing_is_accepted_the_last_answer_is_returned(
    bench: Bench, stream: bool
) -> None:
    """An answer with doubts is worth more than an error, and the account says it was doubted."""
    execution = climb(bench, "ok", "ok2", accept=SHORT, stream=stream)
    assert await collect(execution)
    assert execution.completion is not None
    assert [a.outcome for a in execution.completion.attempts] == ["rejected", "rejected"]
    assert execution.completion.target == "ok2"


async def test_the_answer_with_fewest_findings_is_returned(bench: Bench) -> None:
    """A last answer that is worse than an earlier one does not replace it."""
    bench.upstream.bodies["worse"] = completion("x")
    accept = Acceptance(checks=({"min_chars": 100}, {"regex": "Fo"}))
    execution = climb(bench, "ok", "worse", accept=accept)
    assert (await collect(execution))[0].data == completion()
    assert execution.target == "ok"


@FORMS
async def test_a_failed_step_is_passed_over(bench: Bench, stream: bool) -> None:
    """An upstream failure inside a cascade is a fallback, not an end."""
    execution = climb(bench, "s500", "ok", accept=Acceptance(), stream=stream)
    await collect(execution)
    assert execution.target == "ok"


@pytest.mark.parametrize("fault", ["cut", "error_mid", "truncated", "hang_mid", "loris_mid"])
async def test_a_held_stream_that_breaks_leads_to_the_next_step(bench: Bench, fault: str) -> None:
    """Held back means not committed: even a stream that broke off late is answered by another."""
    execution = climb(bench, fault, "ok", accept=Acceptance(), stream=True)
    body = b"".join(event.data for event in await collect(execution))
    assert body == b"".join((ROLE, *WORDS, END, DONE))


async def test_spares_answer_when_every_step_failed(bench: Bench) -> None:
    """Eligible targets outside the cascade's order are asked before giving up."""
    settings = Cascade(order=("s500",))
    execution = bench.run("s500", "ok", cascade=True, cascade_settings=settings)
    await collect(execution)
    assert execution.target == "ok"


async def test_every_failure_is_a_502(bench: Bench) -> None:
    """A cascade without any answer ends like any other execution."""
    with pytest.raises(UpstreamFailed, match="s503"):
        await climb(bench, "s500", "s503", accept=SHORT, fallback=Fallback(retries=0)).open()


async def test_the_callers_own_mistake_goes_back(bench: Bench) -> None:
    """A 400 is not escalated past."""
    with pytest.raises(UpstreamRefused):
        await climb(bench, "s400", "ok", accept=SHORT).open()


@FORMS
async def test_a_schema_violation_escalates(bench: Bench, stream: bool) -> None:
    """`response_format` is checked with the caller's own schema."""
    request = a_request(response_format=SCHEMA, stream=stream)
    execution = climb(bench, "ok", "json_answer", accept=Acceptance(), request=request)
    assert b'\\"n\\": 4' in b"".join(event.data for event in await collect(execution))
    assert execution.completion is not None
    assert execution.completion.attempts[0].reason.startswith("schema: not valid JSON")


JUDGED = RouterLLM("judge", "http://127.0.0.1:9/v1", price_input=1.0, price_output=1.0)


@pytest.mark.parametrize(
    ("said", "target", "reason"),
    [
        ('{"score": 0.9, "reason": "right"}', "ok", ""),
        ('{"score": 0.1, "reason": "wrong sum"}', "ok2", "judge: 0.10: wrong sum"),
        ("what a question", "ok", "accepted without the judge: the judge's answer is no JSON"),
        ('{"score": 7}', "ok", "accepted without the judge: the judge gave no score"),
        (RouterLLMFailed("timeout"), "ok", "accepted without the judge: the judge failed (timeout"),
    ],
)
async def test_a_judge_decides_and_its_failure_accepts(
    bench: Bench, said: str | RouterLLMFailed, target: str, reason: str
) -> None:
    """A judge that fails never costs the caller the answer, and the attempt says so."""
    model = ScriptedChatModel(said)
    execution = climb(
        bench, "ok", "ok2", accept=Acceptance(judge=True), verifier=Verifier(judge=model),
        router=JUDGED,
    )  # fmt: skip
    await collect(execution)
    completed = execution.completion
    assert completed is not None
    assert execution.target == target
    assert completed.attempts[0].reason.startswith(reason)
    assert len(model.asked) == 1
    attempts_usd = sum(a.cost_usd for a in completed.attempts)
    judge_usd = 0.0 if isinstance(said, RouterLLMFailed) else 110e-6
    assert completed.cost_usd == pytest.approx(attempts_usd + judge_usd)


@pytest.mark.parametrize(("reserve_ms", "asked"), [(0.0, 1), (60_000.0, 0)])
async def test_time_reserved_for_an_escalation_is_not_the_judges(
    bench: Bench, reserve_ms: float, asked: int
) -> None:
    """A judge that would eat what is kept for the next step is not asked; the attempt says so."""
    model = ScriptedChatModel('{"score": 0.9, "reason": "right"}')
    execution = climb(
        bench, "ok", "ok2", accept=Acceptance(judge=True), verifier=Verifier(judge=model),
        router=JUDGED, deadline_ms=30_000, reserve_ms=reserve_ms,
    )  # fmt: skip
    await collect(execution)
    assert len(model.asked) == asked
    assert execution.completion is not None
    said = execution.completion.attempts[0].reason
    assert said == ("" if asked else "accepted without the judge: no time was left")


class SlowJudge(ScriptedChatModel):
    """A judge that takes its time."""

    async def ask(self, *asked: Any, **more: Any) -> ChatAnswer:
        """Later."""
        await asyncio.sleep(0.05)
        return await super().ask(*asked, **more)


async def test_phases_add_up_and_a_judges_time_is_no_attempts(bench: Bench) -> None:
    """What verification took is told once, beside the attempt's own time."""
    verifier = Verifier(judge=SlowJudge('{"score": 0.9, "reason": "right"}'))
    execution = climb(
        bench, "ok", "ok2", accept=Acceptance(judge=True), verifier=verifier, router=JUDGED
    )
    await collect(execution)
    completed = execution.completion
    assert completed is not None
    assert completed.phases_ms is not None
    spent = dict(completed.phases_ms)
    assert spent.pop("route") == execution.decision.timing_ms
    assert sum(spent.values()) == pytest.approx(completed.latency_ms)
    assert completed.attempts[0].latency_ms <= spent["attempts"]
    assert spent["verify"] >= 49


async def test_an_earlier_decision_spent_nothing_of_this_request(bench: Bench) -> None:
    """Executing by `decision_id` did not route again."""
    execution = bench.run("ok", request=a_request(options=RouterOptions(decision_id="d-1")))
    await collect(execution)
    assert execution.completion is not None
    assert execution.completion.phases_ms is not None
    assert execution.completion.phases_ms["route"] == 0


@pytest.mark.parametrize(
    ("others", "target"), [(["Four.", "Four."], "ok"), (["Five.", "Six."], "ok2")]
)
async def test_samples_that_disagree_escalate(bench: Bench, others: list[str], target: str) -> None:
    """Each further sample is an attempt of its own with its cost."""
    for number, text in enumerate(others):
        bench.upstream.bodies[f"sample{number}"] = completion(text)
    bench.upstream.script["ok"] = ["ok", "sample0", "sample1"]
    execution = climb(bench, "ok", "ok2", accept=Acceptance(samples=3))
    await collect(execution)
    assert execution.target == target
    assert execution.completion is not None
    sampled = [a for a in execution.completion.attempts if "sample" in a.reason]
    assert len([a for a in sampled if a.target == "ok" and a.reason.startswith("sample ")]) == 2
    assert all(a.cost_usd == pytest.approx(22e-6) for a in sampled)


async def test_an_escalation_that_cannot_finish_is_not_begun(bench: Bench) -> None:
    """With too little time left, the doubtful answer goes out."""
    slow = {"ok2": {"latency": Latency(60_000.0, 1.0)}}
    execution = climb(bench, "ok", "ok2", accept=SHORT, deadline_ms=2000, targets=slow)
    assert (await collect(execution))[0].data == completion()
    assert bench.upstream.hits("ok2") == 0


async def test_an_escalation_over_the_callers_money_is_not_begun(bench: Bench) -> None:
    """`max_cost_usd` bounds what was rejected and what would follow together."""
    request = a_request(options=RouterOptions(max_cost_usd=0.0001))
    execution = climb(bench, "ok", "ok2", accept=SHORT, request=request)
    await collect(execution)
    assert bench.upstream.hits("ok2") == 0
    assert execution.completion is not None
    assert execution.completion.cost_usd < 0.0001


@pytest.mark.parametrize(
    "accept", [Acceptance(judge=True), Acceptance(samples=3)], ids=["judge", "samples"]
)
async def test_a_signal_over_the_callers_money_is_not_asked(
    bench: Bench, accept: Acceptance
) -> None:
    """`max_cost_usd` bounds what verification costs too: the next step does not fit beforehand."""
    judge = ScriptedChatModel('{"score": 0.1, "reason": "wrong"}')
    execution = climb(
        bench, "ok", "ok2", accept=accept, verifier=Verifier(judge=judge), router=JUDGED,
        request=a_request(options=RouterOptions(max_cost_usd=150e-6)),
        targets={"ok2": {"price": Price(0.1, 0.1)}},
    )  # fmt: skip
    await collect(execution)
    assert execution.target == "ok"
    assert execution.completion is not None
    assert execution.completion.cost_usd <= 150e-6
    (attempt,) = execution.completion.attempts
    assert attempt.outcome == "ok"
    assert judge.asked == []
    assert bench.upstream.hits("ok") == 1
    bounds = execution.completion.bounds
    assert bounds is not None
    assert [target for target, _ in bounds.left_out] == ["ok2"]
    assert "max_cost_usd" in bounds.left_out[0][1]


async def test_a_judge_of_a_longer_answer_than_planned_is_not_asked(bench: Bench) -> None:
    """What verification may cost is looked at again once the answer is there."""
    bench.upstream.bodies["wordy"] = completion("x" * 8000)
    judge = ScriptedChatModel('{"score": 0.1, "reason": "wrong"}')
    execution = climb(
        bench, "wordy", "ok2", accept=Acceptance(judge=True), verifier=Verifier(judge=judge),
        router=JUDGED, request=a_request(options=RouterOptions(max_cost_usd=1e-3)),
        targets={"ok2": {"price": Price(0.1, 0.1)}},
    )  # fmt: skip
    await collect(execution)
    assert execution.completion is not None
    (attempt,) = execution.completion.attempts
    assert attempt.reason == "accepted without the judge: it could cost more than is left"
    assert judge.asked == []


async def test_a_retried_question_starts_one_step_higher(bench: Bench) -> None:
    """`escalate` skips the cheapest step."""
    execution = climb(bench, "ok", "ok2", accept=Acceptance(), escalate=1)
    await collect(execution)
    assert execution.target == "ok2"
    assert bench.upstream.hits("ok") == 0


async def test_tool_calls_are_not_held_against_text_checks(bench: Bench) -> None:
    """An answer that calls a tool has no text to check."""
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "t"}]}
    choice = {"message": call, "finish_reason": "tool_calls"}
    bench.upstream.bodies["tools"] = completion(choices=[choice])
    execution = climb(bench, "tools", "ok", accept=SHORT)
    await collect(execution)
    assert execution.target == "tools"


@FORMS
async def test_leaving_a_cascade_frees_the_upstream(bench: Bench, stream: bool) -> None:
    """A caller who leaves while an answer is held back is seen upstream."""
    execution = climb(bench, "hang", "ok", accept=SHORT, stream=stream, targets=LONG)
    waiting = asyncio.ensure_future(execution.open())
    await until(lambda: bench.upstream.seen)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: bench.upstream.left == 1)


async def test_chunks_of_a_held_stream_make_one_text(bench: Bench) -> None:
    """Checks see the joined text of a stream, not its pieces."""
    execution = climb(
        bench, "ok", "ok2", accept=Acceptance(checks=({"exact": ["Four."]},)), stream=True
    )
    await collect(execution)
    assert execution.target == "ok"


@FORMS
@pytest.mark.parametrize("how", ["refuses", "filters"])
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_refusal_escalates_where_configured(
    bench: Bench, elsewhere: bool, how: str, stream: bool
) -> None:
    """The model's own refusal is an answer, unless `on_refusal` says otherwise; in either form."""
    policy = Fallback(on_refusal=elsewhere)
    for execution in (
        climb(bench, how, "ok", accept=Acceptance(), fallback=policy, stream=stream),
        bench.run(how, "ok", fallback=policy, stream=stream),
    ):
        await collect(execution)
        assert execution.target == ("ok" if elsewhere else how)
        assert execution.completion is not None
        assert execution.completion.attempts[0].outcome == ("rejected" if elsewhere else "ok")
