"""Which protocol is asked, within which time, and what is remembered of a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.deadline import Deadline
from llmrouter.domain.judgement import Judgement
from llmrouter.errors import RouterLLMFailed
from llmrouter.judging.dialects import Dialects, known_protocol
from llmrouter.judging.judge import Judge
from llmrouter.simulator.judging import decision, systemone
from llmrouter.util.tasks import Background
from tests.fakes import RecordingObserver
from tests.judging.asking import LLM, Scripted, to_judge, viewed

JSON = '{"target":"small","task":"math","confidence":0.9,"reason":"easy"}'
TOKEN = {"A": 0.9}
OPENAI = replace(LLM, base_url="https://api.openai.com/v1", model="gpt-6-luna")


def typed(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A server that answers both formats of typed questions."""
    answers: Any = decision(body) if path == "/decisions" else systemone(body)
    return {"model": "m", "answers": answers, "usage": {"input_tokens": 10}}


@dataclass
class Bench:
    """A judge with a scripted server and a clock that the test moves."""

    background: Background = field(default_factory=Background)
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    now: float = 0.0

    def judge(self, model: Scripted) -> Judge:
        """A judge that knows nothing yet."""
        dialects = Dialects(lambda: self.now)
        return Judge(model, self.observer, viewed, self.background, dialects)

    async def ask(self, judge: Judge, llm: RouterLLM = LLM, **over: Any) -> Judgement:
        """One judgement, with everything behind it done."""
        context = to_judge(llm, **over)
        judged = await judge.judge(context, context.targets())
        for _ in range(50):  # what runs behind waits for nothing
            await asyncio.sleep(0)
        return judged.judgement


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A fresh bench."""
    made = Bench()
    yield made
    await made.background.close(0)


@pytest.mark.parametrize(
    ("url", "model", "protocol"),
    [
        ("https://api.openai.com/v1", "gpt-6-luna", "decisions"),
        ("https://api.openai.com/v1", "gpt-5-nano", "chat"),
        ("https://api.typesafe.ai/v1", "jev-1", "systemone"),
        ("https://api.upstage.ai/v1", "solar-decide", "systemone"),
        ("http://localhost:11434/v1", "qwen", None),
        ("https://api.openai.com.evil.test/v1", "gpt-6-luna", None),
    ],
)
def test_well_known_hosts_are_known(url: str, model: str, protocol: str | None) -> None:
    """By the whole host name, and by what the model is."""
    assert known_protocol(RouterLLM(model, url)) == protocol


async def test_a_well_known_host_is_asked_in_its_own_way_at_once(bench: Bench) -> None:
    """One call, no probe."""
    model = Scripted(TOKEN, posts=typed)
    judgement = await bench.ask(bench.judge(model), OPENAI)
    assert judgement.protocol == "decisions"
    assert [path for path, _ in model.bodies] == ["/decisions"]


async def test_an_unknown_server_is_asked_by_chat_and_probed_behind_the_request(
    bench: Bench,
) -> None:
    """The request pays no extra call; the next one is asked in the better way."""
    model = Scripted(TOKEN, posts=typed)
    judge = bench.judge(model)
    assert (await bench.ask(judge)).protocol == "chat"
    assert [path for path, _ in model.bodies] == ["/systemone"]
    assert (await bench.ask(judge)).protocol == "systemone"
    assert len(model.bodies) == 2


@pytest.mark.parametrize(
    ("said", "protocol"),
    [("400 at least one question is required", "systemone"), ("400 no such model", "chat")],
)
async def test_a_server_that_misses_a_question_speaks_the_format(
    bench: Bench, said: str, protocol: str
) -> None:
    """The probe asks nothing, so it costs nothing and teaches all the same."""

    def posts(path: str, body: Mapping[str, Any]) -> Any:
        empty = not body["questions"]
        return RouterLLMFailed("http", said, status=400) if empty else typed(path, body)

    judge = bench.judge(Scripted(TOKEN, posts=posts))
    await bench.ask(judge)
    assert (await bench.ask(judge)).protocol == protocol


async def test_a_server_without_typed_questions_is_probed_once_an_hour(bench: Bench) -> None:
    """What it lacks costs two refused questions, not two a request."""
    model = Scripted(TOKEN)
    judge = bench.judge(model)
    for _ in range(3):
        assert (await bench.ask(judge)).protocol == "chat"
    assert [path for path, _ in model.bodies] == ["/systemone", "/decisions"]
    bench.now = 3601.0
    await bench.ask(judge)
    assert len(model.bodies) == 4


@pytest.mark.parametrize("status", [400, 404, 501])
async def test_a_protocol_that_is_turned_down_is_followed_by_the_next(
    bench: Bench, status: int
) -> None:
    """In the same request; afterwards the refusing one is left alone for an hour."""
    model = Scripted(TOKEN, posts=lambda *_: RouterLLMFailed("http", "no", status=status))
    judge = bench.judge(model)
    assert (await bench.ask(judge, OPENAI)).protocol == "chat"
    assert (await bench.ask(judge, OPENAI)).protocol == "chat"
    assert len(model.bodies) == 1
    bench.now = 3601.0
    model.posts = typed
    assert (await bench.ask(judge, OPENAI)).protocol == "decisions"


async def test_without_log_probabilities_one_opinion_is_asked_for(bench: Bench) -> None:
    """By JSON, and the next request asks for that at once."""
    model = Scripted(JSON)
    model.logprobs = False
    judge = bench.judge(model)
    assert (await bench.ask(judge)).protocol == "json"
    asked = len(model.messages)
    await bench.ask(judge)
    assert len(model.messages) == asked + 1


async def test_a_refusal_of_one_request_is_not_one_of_the_protocol(bench: Bench) -> None:
    """What answered before is not given up for a prompt that is too long."""
    model = Scripted(TOKEN, posts=typed)
    judge = bench.judge(model)
    await bench.ask(judge, OPENAI)
    model.posts = lambda *_: RouterLLMFailed("http", "400 too long", status=400)
    with pytest.raises(RouterLLMFailed):
        await bench.ask(judge, OPENAI)
    model.posts = typed
    assert (await bench.ask(judge, OPENAI)).protocol == "decisions"


@pytest.mark.parametrize("protocol", ["decisions", "systemone"])
async def test_a_protocol_that_was_asked_for_is_the_only_one(bench: Bench, protocol: str) -> None:
    """An operator's word counts; a server that lacks it is a failure."""
    model = Scripted(TOKEN)
    with pytest.raises(RouterLLMFailed):
        await bench.ask(bench.judge(model), replace(LLM, protocol=protocol))
    assert model.messages == []


async def test_a_failure_of_another_kind_is_not_asked_elsewhere(bench: Bench) -> None:
    """A server that is down is down for every protocol."""
    model = Scripted(TOKEN, posts=lambda *_: RouterLLMFailed("connect", "refused"))
    with pytest.raises(RouterLLMFailed) as caught:
        await bench.ask(bench.judge(model), OPENAI)
    assert caught.value.kind == "connect"
    assert len(model.bodies) == 1


async def test_a_spent_deadline_asks_nobody(bench: Bench) -> None:
    """The failure says that nobody was asked."""
    model = Scripted(TOKEN)
    with pytest.raises(RouterLLMFailed) as caught:
        await bench.ask(bench.judge(model), deadline=Deadline.after_ms(0))
    assert (caught.value.kind, model.messages) == ("timeout", [])


async def test_a_hopeless_call_is_not_started_and_hope_returns(bench: Bench) -> None:
    """A server that takes long is not asked where little time is left; now and then it is again."""
    model = Scripted(TOKEN)
    judge = bench.judge(model)
    judge._usual_s[LLM.base_url, LLM.model] = 5.0
    late = {"deadline": Deadline.after_ms(1000)}
    with pytest.raises(RouterLLMFailed, match="not asked"):
        await bench.ask(judge, **late)
    for _ in range(20):
        try:
            await bench.ask(judge, **late)
        except RouterLLMFailed:
            continue
        break
    assert model.messages


async def test_each_call_is_a_client_span_with_what_it_came_to(bench: Bench) -> None:
    """Model, tokens, price, protocol; what it cost is known afterwards."""
    judge = bench.judge(Scripted(TOKEN))
    await bench.ask(judge, replace(LLM, protocol="chat"))
    span = bench.observer.spans[0]
    assert span.name == "chat judge"
    assert span.attributes["llmrouter.judge.protocol"] == "chat"
    assert span.attributes["gen_ai.usage.output_tokens"] == 1
    assert span.attributes["gen_ai.prompt.version"] == "p1"
    price = judge.price(LLM)
    assert price is not None
    assert (price.usd, price.spent_usd) == (pytest.approx(3 * 102e-6), pytest.approx(3 * 102e-6))
