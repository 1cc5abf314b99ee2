"""Cheapest acceptable first: hold each answer until it is accepted, escalate when it is not.

A stream is held back too, and replayed as received once it is accepted. What was rejected is on
the account. An escalation that cannot finish in the time left, or would pass the caller's
`max_cost_usd`, is not begun. When nothing is accepted, the answer that passed most is returned:
an answer with doubts is worth more than an error.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace

from llmrouter.domain import semconv
from llmrouter.domain.completion import ResponseEvent
from llmrouter.domain.interfaces import ChatModel
from llmrouter.domain.target import Target
from llmrouter.errors import DeadlineExceeded, UpstreamFailure
from llmrouter.execution.attempt import AttemptRunner
from llmrouter.execution.attempt_session import AttemptSession
from llmrouter.execution.cascade.checks import agreement
from llmrouter.execution.cascade.judge import judge, judge_bound_usd
from llmrouter.execution.cascade.verification import (
    MARGIN,
    Answer,
    Finding,
    Verifier,
    asks_format,
    assembled,
    bounds,
    confidence,
    found_good,
    inspect,
    passed,
)
from llmrouter.execution.json_splice import without_logprobs
from llmrouter.execution.plan import expected_latency_ms, plan
from llmrouter.execution.request_body import sample
from llmrouter.execution.retry_state import RetryState

_AGREE = 0.5


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """What verification came to: what is wrong (empty accepts), what it could not find out, and
    by which `signals` it judged."""

    findings: tuple[Finding, ...]
    remarks: tuple[str, ...] = ()
    sure: float | None = None
    signals: tuple[str, ...] = ()


async def cascade(flow: AttemptSession, verifier: Verifier) -> Answer:
    """The first accepted answer, or the best rejected one. Raises LLMRouterError without any."""
    order = flow.order
    remaining_s = order.deadline.remaining_s()
    if remaining_s <= 0:
        raise DeadlineExceeded("the request's time budget ran out before an attempt could start")
    planned = plan(order, remaining_s)
    flow.account.bounds = planned.bounds
    course = RetryState(lambda: planned, order.catalog.fallback, first=flow.last_resort())
    best: tuple[int, Answer] | None = None
    while (step := course.next(order.deadline.remaining_s())) is not None:
        if best is not None and (step.wait_s or not _affordable(flow, step.target)):
            continue
        if not await flow.affords(step.target):
            break
        if step.wait_s:
            await flow.wait(step.wait_s)
        held = await _hold(flow, verifier, course, step.target, step.following)
        if held is None:
            continue
        run, answer = held
        higher = step.following is not None and _affordable(flow, step.following, run.spent_usd)
        opinion = await _opinion(flow, verifier, run, answer, thorough=higher)
        if not opinion.findings:
            reason = "; ".join(opinion.remarks)
            await flow.close(run, "ok", reason, confidence=opinion.sure, signals=opinion.signals)
            verifier.record.served(order.decision.decision_id, answer.target, answer.readings)
            return answer
        await _reject(flow, run, opinion, step.following if higher else None)
        weight = len(opinion.findings)
        if best is None or weight <= best[0]:
            best = weight, answer
        if not higher:
            break
    if best is not None:
        answer = best[1]
        verifier.record.served(order.decision.decision_id, answer.target, answer.readings)
        return answer
    if planned.spares and course.final is None and order.deadline.remaining_s() > 0:
        spares = replace(planned, targets=planned.spares)
        spare = RetryState(lambda: spares, order.catalog.fallback)
        while (step := spare.next(order.deadline.remaining_s())) is not None:
            if not await flow.affords(step.target):
                break
            held = await _hold(flow, verifier, spare, step.target, step.following)
            if held is not None:
                await flow.close(held[0], "ok", "every target of the cascade failed")
                return held[1]
    raise flow.final_error(course)


async def _hold(
    flow: AttemptSession,
    verifier: Verifier,
    course: RetryState,
    target: Target,
    following: Target | None,
) -> tuple[AttemptRunner, Answer] | None:
    """A whole reply, held back; None when the attempt failed."""
    wanted = bounds(flow.order.catalog.cascade.accept)
    candidates = 0 if not wanted else 2 if MARGIN in wanted else 1
    opened = await flow.open(target, course, following, candidates=candidates)
    if opened is None:
        return None
    run, event = opened
    events: list[ResponseEvent] = []
    size = 0
    following_event: ResponseEvent | None = event
    try:
        while following_event is not None:
            events.append(following_event)
            size += len(following_event.data)
            if size > verifier.max_answer_bytes:
                raise UpstreamFailure("too_large", "the answer is too large to be held back")
            following_event = await run.next_event()
        run.report_success()
    except UpstreamFailure as failure:
        await flow.failed(run, failure, course)
        return None
    except BaseException as error:
        await flow.abandon(run, error)
        raise
    relayed = events
    if (
        candidates and "logprobs" not in flow.order.request.document
    ):  # the caller did not ask for them
        relayed = [replace(one, data=without_logprobs(one.data)) for one in events]
    answer = assembled(target, events, run.finish_reason)
    return run, replace(answer, events=tuple(relayed))


async def _opinion(
    flow: AttemptSession, verifier: Verifier, run: AttemptRunner, answer: Answer, *, thorough: bool
) -> VerificationResult:
    """What is wrong with an answer. Signals that cost a call are spared when they change nothing:
    after a finding, and where there is no higher target (`thorough` False)."""
    accept = flow.order.catalog.cascade.accept
    started = flow.clock()
    try:
        document = flow.order.request.document
        if any("python" in check for check in accept.checks):
            found = await asyncio.to_thread(inspect, answer, accept, document, verifier)
        else:
            found = inspect(answer, accept, document, verifier)
        if (
            any(choice.refusal for choice in answer.choices)
            and flow.order.catalog.fallback.on_refusal
        ):
            found.append(Finding("refusal", "the target refused"))
        remarks: list[str] = []
        asked = thorough and not found and bool(answer.said)
        if asked:
            found, remarks = await _asked(flow, verifier, answer, _left_usd(flow) - run.spent_usd)
        sure = confidence(answer, accept, verifier)
        formatted = asks_format(document.get("response_format"))
        told = asked and not remarks
        good = found_good(found, accept, answer, asked=told, formatted=formatted)
        if good is not None:
            verifier.record.verified(answer.target, answer.readings, good)
        signals = tuple(dict.fromkeys(finding.signal for finding in found))
        if not found and answer.said:
            signals = passed(accept, asked=told, formatted=formatted)
        return VerificationResult(tuple(found), tuple(remarks), sure, signals)
    except BaseException as error:
        await flow.abandon(run, error)
        raise
    finally:
        flow.account.verified_ms += (flow.clock() - started) * 1000.0


async def _asked(
    flow: AttemptSession, verifier: Verifier, answer: Answer, left_usd: float
) -> tuple[list[Finding], list[str]]:
    """The signals that cost further calls: agreement of samples, then the judge.

    One that could cost more than `left_usd` is not asked.
    """
    order = flow.order
    accept = order.catalog.cascade.accept
    remarks: list[str] = []
    if accept.samples > 1:
        further = accept.samples - 1
        bound = order.bound_usd(answer.target)
        if further * bound > left_usd:
            return [], [*remarks, "accepted without samples: they could cost more than is left"]
        left_usd -= further * bound
        texts = await _sampled(flow, answer, further)
        shares = [agreement([choice.text, *texts]) for choice in answer.said]
        if texts and (share := min(shares)) < _AGREE:
            said = f"{share:.0%} of {len(texts)} further samples agree"
            return [Finding("samples", said)], remarks
        if not texts:
            remarks.append("no further sample could be taken")
    if not accept.judge:
        return [], remarks
    if verifier.judge is None:
        return [], [*remarks, "accepted without a judge: none is connected"]
    bounds_usd = [judge_bound_usd(order.catalog, order.request, len(c.text)) for c in answer.said]
    if math.fsum(bounds_usd) > left_usd:
        return [], [*remarks, "accepted without the judge: it could cost more than is left"]
    for choice in answer.said:
        found, remark = await _judged(flow, verifier.judge, choice)
        if remark:
            remarks.append(remark)
        if found is not None:
            return [found], remarks
    return [], remarks


async def _judged(
    flow: AttemptSession, model: ChatModel, choice: Answer
) -> tuple[Finding | None, str]:
    """What the judge finds wrong with one choice, or a remark that it could not be asked."""
    order = flow.order
    reserve_s = order.catalog.cascade.reserve_ms / 1000.0
    timeout_s = min(10.0, order.deadline.remaining_s() - reserve_s)
    if timeout_s <= 0:
        return None, "accepted without the judge: no time was left"
    judged = await judge(model, order.catalog, order.request, choice.text, timeout_s)
    flow.account.final_usd += judged.cost_usd
    outcome = "failed" if judged.score is None else "scored"
    flow.observer.count("judgements", 1, {"target": choice.target.id, "outcome": outcome})
    if judged.score is None:
        return None, f"accepted without the judge: {judged.reason}"
    if judged.score < order.catalog.cascade.accept.judge_min_score:
        return Finding("judge", f"{judged.score:.2f}: {judged.reason}"), ""
    return None, ""


async def _sampled(flow: AttemptSession, answer: Answer, further: int) -> list[str]:
    """The texts of further samples of the same target; failed ones are left out."""

    async def one(number: int) -> str | None:
        run = await flow.start(answer.target)
        run.resample(sample)
        try:
            event = await run.open()
        except UpstreamFailure as failure:
            await flow.close(run, "failed", f"sample {number}: {failure}", failure)
            return None
        except BaseException as error:
            await flow.abandon(run, error)
            raise
        await flow.close(run, "ok", f"sample {number} of the same question")
        return event.text

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(2, further + 2)]
    return [text for task in tasks if (text := task.result()) is not None]


async def _reject(
    flow: AttemptSession, run: AttemptRunner, opinion: VerificationResult, to: Target | None
) -> None:
    """Close a rejected attempt; where the cascade goes on, that is an escalation."""
    first = opinion.findings[0]
    reason = "; ".join(map(str, opinion.findings))
    if to is None:
        reason += " (not escalated: no higher target fits)"
    else:
        run.note(
            semconv.ESCALATION_EVENT,
            {
                semconv.ESCALATION_SIGNAL: first.signal,
                semconv.ESCALATION_REASON: first.detail,
                semconv.TARGET: to.id,
            },
        )
        labels = {"target": run.target.id, "signal": first.signal}
        flow.observer.count("escalations", 1, labels)
    await flow.close(run, "rejected", reason, confidence=opinion.sure, signals=opinion.signals)


def _affordable(flow: AttemptSession, target: Target, spent_usd: float = 0.0) -> bool:
    """Whether an escalation fits into what is left of time and money after `spent_usd` more."""
    order = flow.order
    if expected_latency_ms(target, order) / 1000.0 > order.deadline.remaining_s():
        return False
    bound = order.bound_usd(target)
    return bound <= _left_usd(flow) - spent_usd


def _left_usd(flow: AttemptSession) -> float:
    """What the caller's `max_cost_usd`, or its key's budget, leaves beside what is on the account;
    inf without either."""
    limit = flow.order.request.limit_usd
    if limit is None:
        return math.inf
    return limit - sum(a.cost_usd for a in flow.account.attempts) - flow.account.final_usd
