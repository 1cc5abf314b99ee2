"""One policy for streaming and not, seen from the caller's side on real sockets."""

from __future__ import annotations

import json

import pytest

from llmrouter.domain.catalog import Fallback
from llmrouter.domain.target import Latency
from llmrouter.errors import (
    DeadlineExceeded,
    TargetsRateLimited,
    UpstreamFailed,
    UpstreamRefused,
)
from tests.execution.conftest import FORMS, LONG, NO_REPEAT, Bench, collect
from tests.fakes import a_request
from tests.faulty import COUNTS, DONE, END, ROLE, WORDS, completion


def right(stream: bool) -> bytes:
    """What the `ok` upstream's answer looks like to the caller."""
    return b"".join((ROLE, *WORDS, END, DONE)) if stream else completion()


FALLS_BACK = [
    "refuse", "reset", "hang", "loris", "html", "plain", "nothing", "only_done", "no_choices",
    "blank", "array", "error_200", "bad_utf8", "redirect", "no_content", "storm", "busy",
    "s401", "s403", "s404", "s408", "s409", "s425", "s500", "s502", "s503", "s504", "s529",
]  # fmt: skip
KINDS = {
    "refuse": "connect", "reset": "connect", "hang": "timeout", "loris": "timeout",
    "html": "malformed", "plain": "malformed", "nothing": "empty", "array": "malformed",
    "blank": "empty", "no_choices": "empty", "error_200": "error_body", "bad_utf8": "malformed",
    "redirect": "misconfigured", "no_content": "malformed",
}  # fmt: skip


@FORMS
@pytest.mark.parametrize("fault", FALLS_BACK)
async def test_a_failure_before_the_first_token_leads_to_the_next_target(
    bench: Bench, fault: str, stream: bool
) -> None:
    """Whatever breaks before the commit point, the caller gets the fallback's whole answer."""
    execution = bench.run(fault, "ok", stream=stream)

    body = b"".join(event.data for event in await collect(execution))

    assert body == right(stream)
    assert execution.target == "ok"
    assert execution.completion is not None
    failed, answered = execution.completion.attempts
    assert (failed.outcome, answered.outcome) == ("failed", "ok")
    assert failed.reason.startswith(KINDS.get(fault, "" if fault == "only_done" else "status"))
    assert execution.completion.target == "ok"
    assert bench.observer.spans[0].error is not None


@FORMS
async def test_who_answers_and_after_how_many_attempts_is_known_when_it_begins(
    bench: Bench, stream: bool
) -> None:
    """Headers go out with the first event, so both must be known by then."""
    execution = bench.run("reset", "ok", stream=stream, fallback=NO_REPEAT)
    assert (execution.target, execution.tried) == (None, 0)
    await execution.open()
    assert (execution.target, execution.tried) == ("ok", 2)
    await execution.aclose()
    assert (execution.target, execution.tried) == ("ok", 2)


@FORMS
@pytest.mark.parametrize("fault", FALLS_BACK)
async def test_a_failure_of_every_target_is_one_clear_error(
    bench: Bench, fault: str, stream: bool
) -> None:
    """With nothing left the caller gets 502, or 429 for a rate limit; it lists the attempts."""
    execution = bench.run(fault, stream=stream, fallback=NO_REPEAT)
    limited = fault in ("storm", "busy")

    with pytest.raises(TargetsRateLimited if limited else UpstreamFailed) as caught:
        await execution.open()

    assert fault in caught.value.message
    assert "sk-secret" not in caught.value.message
    assert execution.completion is not None
    counted = fault in ("no_choices", "blank") and not stream
    assert (execution.completion.cost_usd > 0) == counted  # a provider bills what it counted
    assert len(execution.completion.attempts) == 1


@FORMS
@pytest.mark.parametrize(("fault", "status"), [("s400", 400), ("s413", 413), ("s422", 422)])
async def test_what_the_caller_must_mend_goes_back_as_the_upstream_said_it(
    bench: Bench, fault: str, status: int, stream: bool
) -> None:
    """Another target would hide the caller's own mistake, so none is asked."""
    with pytest.raises(UpstreamRefused) as caught:
        await bench.run(fault, "ok", stream=stream).open()

    assert caught.value.status == status
    assert json.loads(caught.value.body)["error"]["message"] == caught.value.message
    assert caught.value.content_type == "application/json"
    assert bench.upstream.hits("ok") == 0


@FORMS
async def test_a_context_that_is_too_long_goes_to_a_larger_window(
    bench: Bench, stream: bool
) -> None:
    """Targets whose window is no larger are passed over."""
    windows = {"long": 8000, "ok": 8000, "ok2": 100_000}
    targets = {name: {"context_window": size} for name, size in windows.items()}

    execution = bench.run("long", "ok", "ok2", stream=stream, targets=targets)
    await collect(execution)

    assert execution.target == "ok2"
    assert bench.upstream.hits("ok") == 0


@FORMS
async def test_a_context_too_long_for_every_window_is_the_callers(
    bench: Bench, stream: bool
) -> None:
    """Without a larger window the upstream's own 400 goes back."""
    with pytest.raises(UpstreamRefused) as caught:
        await bench.run("long", "ok", stream=stream).open()
    assert caught.value.code == "context_length_exceeded"


@FORMS
@pytest.mark.parametrize(("elsewhere", "target"), [(False, None), (True, "ok")])
async def test_a_content_filters_refusal_is_configurable(
    bench: Bench, elsewhere: bool, target: str | None, stream: bool
) -> None:
    """Final by default; `on_refusal` tries the next target."""
    execution = bench.run("filtered", "ok", stream=stream, fallback=Fallback(on_refusal=elsewhere))
    try:
        await collect(execution)
    except UpstreamRefused:
        assert target is None
    assert execution.target == target


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("cut", "broke off"),
        ("hang_mid", "silent"),
        ("loris_mid", "silent"),
        ("truncated", "broke off"),
        ("error_mid", "overloaded"),
    ],
)
async def test_a_stream_that_fails_after_its_first_token_ends_in_an_error_event(
    bench: Bench, fault: str, words: str
) -> None:
    """No other target's words are mixed in, and nothing is cut silently."""
    execution = bench.run(fault, "ok", stream=True)

    *sent, last = await collect(execution)

    assert sent[0].data == ROLE
    assert sent[1].data == WORDS[0]
    assert last.data.startswith(b"data: {")
    assert last.data.endswith(b"}\n\n")
    error = json.loads(last.data[6:])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert words in error["message"]
    assert not last.done
    assert execution.error is not None
    assert execution.completion is not None
    assert [a.outcome for a in execution.completion.attempts] == ["failed"]
    assert execution.completion.attempts[0].cost_estimated
    assert bench.upstream.hits("ok") == 0


@pytest.mark.parametrize("fault", ["cut", "hang_mid", "truncated", "too_short"])
async def test_a_whole_body_that_breaks_leads_to_the_next_target(bench: Bench, fault: str) -> None:
    """Without streaming nothing has gone out yet, so a broken body is still before the commit."""
    execution = bench.run(fault, "ok")
    assert b"".join(event.data for event in await collect(execution)) == completion()
    assert execution.target == "ok"


@pytest.mark.parametrize("fault", ["hang_role", "json_for_stream"])
async def test_a_stream_without_a_token_is_not_committed(bench: Bench, fault: str) -> None:
    """Comments and a role alone are held back, and so is a body that is no stream."""
    execution = bench.run(fault, "ok", stream=True)
    assert b"".join(event.data for event in await collect(execution)) == right(stream=True)


async def test_invalid_utf8_in_a_stream_is_relayed_as_it_came(bench: Bench) -> None:
    """Bytes that are no text do not break the reply around them."""
    body = b"".join(event.data for event in await collect(bench.run("bad_utf8_mid", stream=True)))
    assert body == ROLE + WORDS[0] + b"data: \xff\xfe\n\n" + END + DONE


@FORMS
async def test_cost_comes_from_the_upstreams_own_counts(bench: Bench, stream: bool) -> None:
    """12 tokens in at $1 and 5 out at $2 a million, in both forms, and nothing estimated."""
    execution = bench.run("ok", stream=stream)
    await collect(execution)

    assert execution.completion is not None
    assert execution.completion.cost_usd == pytest.approx(22e-6)
    assert execution.completion.finish_reason == "stop"
    assert not execution.completion.attempts[0].cost_estimated
    attributes = bench.observer.spans[0].attributes
    assert attributes["gen_ai.usage.input_tokens"] == 12
    assert attributes["gen_ai.usage.output_tokens"] == 5
    assert attributes["gen_ai.response.model"] == "m-1"
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert bench.observer.spans[0].name == "chat ok-model"
    assert bench.observer.completions[0][1] == pytest.approx(22e-6)


async def test_usage_is_asked_for_and_taken_out_again(bench: Bench) -> None:
    """The chunk with the counts reaches a caller only where the caller asked for it."""
    silent = await collect(bench.run("ok", stream=True))
    asked = a_request(stream=True, stream_options={"include_usage": True, "x": 1})
    told = await collect(bench.run("ok", stream=True, request=asked))

    assert COUNTS not in [event.data for event in silent]
    assert COUNTS in [event.data for event in told]
    sent = [json.loads(seen.body)["stream_options"] for seen in bench.upstream.seen]
    assert sent == [{"include_usage": True}, {"include_usage": True, "x": 1}]


async def test_a_server_without_stream_options_is_asked_again_without(bench: Bench) -> None:
    """An option the service added must not cost the caller the answer, now or next time."""
    bench.upstream.script["ok"] = ["no_options", "ok", "ok"]
    executor = bench.make()
    first, second = [bench.run("ok", stream=True, executor=executor) for _ in range(2)]
    assert b"".join(event.data for event in await collect(first)).endswith(DONE)
    await collect(second)
    assert ["stream_options" in json.loads(s.body) for s in bench.upstream.seen] == [
        True, False, False,
    ]  # fmt: skip


async def test_trace_context_and_credentials_go_upstream(bench: Bench) -> None:
    """The attempt's own span is the parent over there; the key comes from the named variable."""
    await collect(bench.run("ok", targets={"ok": {"api_key_env": "KEY"}}))
    headers = bench.upstream.seen[0].headers
    assert headers["traceparent"].startswith("00-aaaa")
    assert headers["authorization"] == "Bearer sk-1"


@FORMS
async def test_a_missing_credential_is_named_and_another_target_answers(
    bench: Bench, stream: bool
) -> None:
    """Our own misconfiguration is counted, and costs the caller nothing."""
    execution = bench.run("ok2", "ok", stream=stream, targets={"ok2": {"api_key_env": "NO_KEY"}})
    await collect(execution)
    assert execution.completion is not None
    assert "NO_KEY" in execution.completion.attempts[0].reason
    assert ("upstream_misconfigured", 1, {"target": "ok2", "kind": "misconfigured"}) in (
        bench.observer.counts
    )


@FORMS
async def test_a_target_is_tried_again_once_none_is_left(bench: Bench, stream: bool) -> None:
    """Every target is tried before any is tried twice, and the wait is on the account."""
    bench.upstream.script["ok"] = ["s503", "ok"]
    execution = bench.run("ok", "s500", stream=stream, fallback=Fallback(retries=1))
    await collect(execution)
    assert execution.completion is not None
    assert [a.target for a in execution.completion.attempts] == ["ok", "s500", "ok"]
    assert execution.completion.phases_ms is not None
    assert execution.completion.phases_ms["waits"] > 0


@FORMS
async def test_a_storm_of_429_rests_the_target_for_as_long_as_it_asks(
    bench: Bench, stream: bool
) -> None:
    """The first 429 with Retry-After keeps the next requests away, with a reason people read."""
    executor = bench.make()
    for _ in range(3):
        execution = bench.run("storm", "ok", stream=stream, executor=executor)
        await collect(execution)
        assert execution.target == "ok"
    assert bench.upstream.hits("storm") == 1
    assert "rate limited by its provider, next try in " in (bench.health.unavailable("storm") or "")
    assert bench.health.states()["storm"] == "cooldown"


@FORMS
async def test_a_deadline_bounds_the_whole_request(bench: Bench, stream: bool) -> None:
    """A target that hangs is given up in time for 504 to say so."""
    with pytest.raises(DeadlineExceeded, match="hang: timeout"):
        await bench.run("hang", stream=stream, deadline_ms=500, targets=LONG).open()


@FORMS
async def test_a_deadline_leaves_time_for_the_next_target(bench: Bench, stream: bool) -> None:
    """With a fallback to go to, a hanging target does not eat the whole budget."""
    slow = {"ok": {"latency": Latency(2500.0, 1e6)}}  # so much is kept for it, twice
    execution = bench.run("hang", "ok", stream=stream, deadline_ms=5500, targets=LONG | slow)
    await collect(execution)
    assert execution.target == "ok"


@FORMS
async def test_a_spent_deadline_starts_nothing(bench: Bench, stream: bool) -> None:
    """Nothing is sent upstream once the budget is gone."""
    with pytest.raises(DeadlineExceeded):
        await bench.run("ok", stream=stream, deadline_ms=0).open()
    assert bench.upstream.seen == []
