"""The router LLM's client against a real socket: a server scripted to differ and to fail."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web

from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.interfaces import ChatAnswer
from llmrouter.errors import RouterLLMFailed
from llmrouter.upstream.health import TargetHealth
from llmrouter.upstream.router_client import RouterClient

KEY = "sk-very-secret-0123456789"
ENV = {"ROUTER_KEY": KEY}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"target": {"type": "string", "enum": ["small", "large"]}},
    "required": ["target"],
    "additionalProperties": False,
}
MESSAGES = [{"role": "system", "content": "Choose."}, {"role": "user", "content": "Hi"}]
GOOD = '{"target":"small"}'

Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def completion(text: str | None = GOOD, **over: Any) -> web.Response:
    """A 200 with one choice; `over` replaces members of the choice."""
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
        **over,
    }
    usage = {"prompt_tokens": 50, "completion_tokens": 9, "total_tokens": 59}
    document = {"id": "c1", "object": "chat.completion", "model": "served", "usage": usage}
    return web.json_response({**document, "choices": [choice]})


def refusal(status: int, message: str, param: str | None = None, **headers: str) -> web.Response:
    """An OpenAI-shaped error."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return web.json_response({"error": error}, status=status, headers=headers)


@dataclass
class FakeOpenAI:
    """A server that answers as scripted, step after step; the last step repeats."""

    steps: list[Answer | web.Response] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    base_url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(request.headers.copy())
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, web.Response):
            return web.Response(status=step.status, headers=step.headers, body=step.body)
        return await step(request, body)

    @property
    def formats(self) -> list[str | None]:
        """The response formats asked for, in order."""
        return [body.get("response_format", {}).get("type") for body in self.bodies]


@pytest.fixture
async def server() -> AsyncIterator[FakeOpenAI]:
    """A fake server on a free port."""
    fake = FakeOpenAI()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", fake.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    fake.base_url = f"http://127.0.0.1:{port}/v1"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def chat() -> AsyncIterator[RouterClient]:
    """A client with one key in its environment."""
    client = RouterClient(ENV, lambda: {"traceparent": "00-trace"})
    yield client
    await client.close()


def an_llm(server: FakeOpenAI, **over: Any) -> RouterLLM:
    """The router LLM on the fake server."""
    values: dict[str, Any] = {
        "model": "gpt-4.1-nano",
        "base_url": server.base_url,
        "api_key_env": "ROUTER_KEY",
    }
    return RouterLLM(**{**values, **over})


async def ask(
    chat: RouterClient, llm: RouterLLM, timeout_s: float = 10.0
) -> ChatAnswer | RouterLLMFailed:
    """The answer, or the failure as a value."""
    try:
        return await chat.ask(llm, MESSAGES, SCHEMA, timeout_s)
    except RouterLLMFailed as failure:
        return failure


async def kind_of(chat: RouterClient, llm: RouterLLM, timeout_s: float = 10.0) -> str:
    """The failure's kind; "ok" where there is none."""
    said = await ask(chat, llm, timeout_s)
    return said.kind if isinstance(said, RouterLLMFailed) else "ok"


async def hang(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def drop(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Promise a body and close in the middle of it."""
    response = web.StreamResponse(headers={"Content-Length": "500"})
    response.content_type = "application/json"
    await response.prepare(request)
    await response.write(b'{"choices": [')
    assert request.transport is not None
    request.transport.close()
    return response


async def test_an_answer_comes_with_usage_model_and_the_request_as_promised(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """One call: strict schema, temperature 0, few tokens, the key and the trace context."""
    server.steps = [completion()]
    answer = await chat.ask(an_llm(server), MESSAGES, SCHEMA, 10.0)
    assert (answer.text, answer.model, answer.usage.output_tokens) == (GOOD, "served", 9)
    (body,) = server.bodies
    assert body["response_format"]["json_schema"]["schema"]["properties"] == SCHEMA["properties"]
    assert body["temperature"] == 0
    assert body["max_tokens"] <= 256
    assert body["messages"] == MESSAGES
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert server.headers[0]["traceparent"] == "00-trace"


async def test_logprobs_become_a_measure(server: FakeOpenAI, chat: RouterClient) -> None:
    """Where the server gives log-probabilities, those of the target's tokens are averaged."""
    parts = [('{"target":"', -3.0), ("sm", -0.5), ("all", -0.1), ('"}', -3.0)]
    content = [{"token": token, "logprob": value} for token, value in parts]
    server.steps = [completion(logprobs={"content": content})]
    answer = await chat.ask(an_llm(server), MESSAGES, SCHEMA, 10.0)
    assert answer.logprob == pytest.approx(-0.3)


async def test_a_server_that_rejects_json_schema_gets_json_object_with_the_schema(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """The refusal is remembered: the second call starts where the first one ended."""

    async def llama(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body["response_format"]["type"] == "json_schema":
            return refusal(500, "validation error: ('body', 'response_format', 'type')")
        assert body["response_format"]["schema"] == SCHEMA
        return completion()

    server.steps = [llama]
    llm = an_llm(server)
    assert await kind_of(chat, llm) == "ok"
    assert await kind_of(chat, llm) == "ok"
    assert server.formats == ["json_schema", "json_object", "json_object"]


async def test_a_server_without_any_structured_output_is_asked_in_plain_text(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """Down the whole ladder; in the end the schema stands in the prompt alone."""

    async def plain(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "response_format" in body:
            return refusal(400, "response_format is not supported")
        return completion(f"Sure! ```json\n{GOOD}\n```")

    server.steps = [plain]
    assert await kind_of(chat, an_llm(server)) == "ok"
    assert server.formats == ["json_schema", "json_object", "json_object", None]
    assert "JSON schema" in server.bodies[-1]["messages"][0]["content"]


async def test_a_reasoning_model_of_unknown_name_is_found_out(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """One refusal of max_tokens and the rest of what such models reject is gone, too."""

    async def reasoning(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        for name in ("max_tokens", "temperature", "logprobs"):
            if name in body:
                return refusal(400, f"Unsupported parameter: '{name}'", name)
        if body["reasoning_effort"] == "minimal":
            return refusal(400, "Unsupported value: 'reasoning_effort'", "reasoning_effort")
        return completion()

    server.steps = [reasoning]
    llm = an_llm(server, model="thinker")
    assert await kind_of(chat, llm) == "ok"
    assert len(server.bodies) == 3
    assert server.bodies[-1]["reasoning_effort"] == "none"
    assert await kind_of(chat, llm) == "ok"
    assert len(server.bodies) == 4


async def test_rejected_logprobs_are_dropped_alone(server: FakeOpenAI, chat: RouterClient) -> None:
    """A server without log-probabilities keeps its strict schema."""
    server.steps = [refusal(403, "You are not allowed to request logprobs"), completion()]
    answer = await chat.ask(an_llm(server), MESSAGES, SCHEMA, 10.0)
    assert answer.logprob is None
    assert server.formats == ["json_schema", "json_schema"]
    assert "logprobs" not in server.bodies[1]


async def test_what_is_learned_holds_for_one_model_on_one_server(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """Another model on the same server starts at the top again."""
    server.steps = [refusal(400, "no json_schema"), completion()]
    assert await kind_of(chat, an_llm(server)) == "ok"
    assert await kind_of(chat, an_llm(server, model="other")) == "ok"
    assert server.formats == ["json_schema", "json_object", "json_schema"]


async def test_what_is_learned_is_forgotten_after_an_hour(server: FakeOpenAI) -> None:
    """A server that was updated is tried at its best again."""
    now = [0.0]
    chat = RouterClient(ENV, clock=lambda: now[0])
    server.steps = [refusal(400, "no json_schema"), completion()]
    assert await kind_of(chat, an_llm(server)) == "ok"
    now[0] = 4000.0
    assert await kind_of(chat, an_llm(server)) == "ok"
    await chat.close()
    assert server.formats == ["json_schema", "json_object", "json_schema"]


async def test_a_suspicion_that_did_not_help_is_not_remembered(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """A server that says a bare 400 to everything leaves no mark on the next call."""
    server.steps = [refusal(400, "Bad Request")]
    llm = an_llm(server)
    assert await kind_of(chat, llm) == "http"
    asked = len(server.bodies)
    assert await kind_of(chat, llm) == "http"
    assert server.formats[asked] == "json_schema"


async def test_a_timeout_downgrades_nothing(server: FakeOpenAI, chat: RouterClient) -> None:
    """After a time-out the strict schema is asked for again."""
    server.steps = [hang, completion()]
    llm = an_llm(server)
    assert await kind_of(chat, llm, 0.2) == "timeout"
    assert await kind_of(chat, llm) == "ok"
    assert server.formats == ["json_schema", "json_schema"]


async def test_the_time_limit_covers_negotiation_and_retry(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """A server that refuses, breaks and then hangs is left when the time is over."""
    server.steps = [refusal(400, "no logprobs"), refusal(503, "busy"), hang]
    failure = await ask(chat, an_llm(server), 0.8)
    assert isinstance(failure, RouterLLMFailed)
    assert failure.kind == "timeout"
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (completion(finish_reason="length"), "truncated"),
        (completion(None, message={"content": None, "refusal": "no"}), "refusal"),
        (completion(finish_reason="content_filter"), "refusal"),
        (completion(""), "malformed"),
        (web.Response(text="<html>hello</html>", content_type="text/html"), "malformed"),
        (web.Response(text="{", content_type="application/json"), "malformed"),
        (web.json_response({"error": {"message": "no memory"}}), "http"),
        (refusal(400, "maximum context length exceeded"), "http"),
        (refusal(404, "The model `x` does not exist"), "misconfigured"),
        (refusal(401, "Incorrect API key"), "misconfigured"),
        (web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}), "misconfigured"),
    ],
)
async def test_failures_have_kinds_and_are_not_repeated(
    server: FakeOpenAI, chat: RouterClient, step: web.Response, kind: str
) -> None:
    """What a second try would not change is tried once, and named for what it is."""
    server.steps = [step]
    assert await kind_of(chat, an_llm(server)) == kind
    assert len(server.bodies) == 1


@pytest.mark.parametrize("step", [refusal(500, "oops"), refusal(429, "slow down"), drop, cut])
async def test_what_may_pass_is_tried_once_more(
    server: FakeOpenAI, chat: RouterClient, step: Answer | web.Response
) -> None:
    """A 5xx, a 429 and a broken connection get one retry, in the same dialect."""
    server.steps = [step, completion()]
    assert await kind_of(chat, an_llm(server)) == "ok"
    assert server.formats == ["json_schema", "json_schema"]


@pytest.mark.parametrize(
    ("step", "kind"), [(refusal(500, "oops"), "http"), (drop, "connect"), (cut, "connect")]
)
async def test_there_is_one_retry_and_no_more(
    server: FakeOpenAI, chat: RouterClient, step: Answer | web.Response, kind: str
) -> None:
    """However many retries a catalog asks for, one is the most; none means none."""
    server.steps = [step]
    assert await kind_of(chat, an_llm(server, retries=5)) == kind
    assert len(server.bodies) == 2
    assert await kind_of(chat, an_llm(server, retries=0)) == kind
    assert len(server.bodies) == 3


async def test_a_retry_that_cannot_be_in_time_is_not_waited_for(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """A 429 that asks for longer than is left is a failure at once, and rests the model."""
    server.steps = [refusal(429, "slow down", **{"Retry-After": "30"})]
    llm = an_llm(server)
    assert await kind_of(chat, llm) == "http"
    assert len(server.bodies) == 1
    assert await kind_of(chat, llm) == "rate_limited"
    assert len(server.bodies) == 1
    server.steps = [completion()]
    assert await kind_of(chat, replace(llm, model="another")) == "ok"


async def test_rate_limits_at_once_rest_the_model_for_what_they_asked(server: FakeOpenAI) -> None:
    """Not longer for being two, and a failure after them stands alone."""
    now = [0.0]
    chat = RouterClient(ENV, health=TargetHealth(2, 30.0, lambda: now[0]))
    llm = an_llm(server, retries=0)
    server.steps = [refusal(429, "slow down", **{"Retry-After": "1"})]
    assert await asyncio.gather(*(kind_of(chat, llm) for _ in range(3))) == ["http"] * 3
    failure = await ask(chat, llm)
    assert "rate limited by its provider, next try in 1 s" in str(failure)
    now[0] = 1.0
    server.steps = [refusal(500, "oops")]
    assert await kind_of(chat, llm) == "http"
    server.steps = [completion()]
    assert await kind_of(chat, llm) == "ok"
    await chat.close()


async def test_an_overload_with_a_time_is_a_wait(server: FakeOpenAI) -> None:
    """For the whole server, and for as long as it asked."""
    now = [0.0]
    chat = RouterClient(ENV, health=TargetHealth(1, 30.0, lambda: now[0]))
    llm = an_llm(server, retries=0)
    server.steps = [refusal(503, "busy", **{"Retry-After": "2"})]
    assert await kind_of(chat, llm) == "http"
    assert "overloaded, next try in 2 s" in str(await ask(chat, llm))
    now[0] = 2.0
    server.steps = [completion()]
    assert await kind_of(chat, llm) == "ok"
    await chat.close()


async def test_a_probe_that_is_refused_closes_the_circuit(server: FakeOpenAI) -> None:
    """A server that says "no" answers."""
    now = [0.0]
    chat = RouterClient(ENV, health=TargetHealth(1, 30.0, lambda: now[0]))
    llm = an_llm(server, retries=0)
    server.steps = [refusal(500, "oops")]
    assert await kind_of(chat, llm) == "http"
    now[0] = 30.0
    server.steps = [refusal(400, "maximum context length")]
    assert await kind_of(chat, llm) == "http"
    assert chat.circuits() == {server.base_url: "closed"}
    await chat.close()


async def test_nobody_listening_is_a_failed_connection(chat: RouterClient) -> None:
    """A closed port is `connect`, not a time-out."""
    llm = RouterLLM("m", "http://127.0.0.1:9/v1")
    assert await kind_of(chat, llm) == "connect"


@pytest.mark.parametrize("env", [{}, {"ROUTER_KEY": ""}, {"ROUTER_KEY": "two\nlines"}])
async def test_a_missing_key_is_said_by_its_variable(
    server: FakeOpenAI, env: dict[str, str]
) -> None:
    """Without a usable key nothing is sent and the variable is named."""
    chat = RouterClient(env)
    failure = await ask(chat, an_llm(server))
    assert isinstance(failure, RouterLLMFailed)
    assert failure.kind == "misconfigured"
    assert "ROUTER_KEY" in failure.detail
    assert server.bodies == []


async def test_a_server_without_a_key_gets_no_authorization(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """A local server is sent no credentials at all, not even made-up ones."""
    server.steps = [completion()]
    assert await kind_of(chat, an_llm(server, api_key_env=None)) == "ok"
    assert "Authorization" not in server.headers[0]


async def test_the_organization_of_the_environment_stays_with_openai(
    server: FakeOpenAI, chat: RouterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPENAI_ORG_ID is not told to other servers."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    server.steps = [completion()]
    assert await kind_of(chat, an_llm(server)) == "ok"
    assert not any("organization" in n.lower() or "project" in n.lower() for n in server.headers[0])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
async def test_a_key_never_gets_into_an_error_or_a_log(
    server: FakeOpenAI, chat: RouterClient, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Even a server that echoes the key cannot make it appear."""
    server.steps = [refusal(status, f"context length; your key {KEY} is bad")]
    with caplog.at_level(logging.DEBUG):
        failure = await ask(chat, an_llm(server))
    assert isinstance(failure, RouterLLMFailed)
    assert KEY not in str(failure)
    assert KEY not in json.dumps([record.getMessage() for record in caplog.records])


async def test_a_server_that_keeps_failing_is_left_alone_and_found_again(
    server: FakeOpenAI,
) -> None:
    """Closed, open, half-open with one probe, closed."""
    now = [0.0]
    chat = RouterClient(ENV, health=TargetHealth(2, 30.0, lambda: now[0]))
    llm = an_llm(server, retries=0)
    server.steps = [refusal(503, "down")]
    assert [await kind_of(chat, llm) for _ in range(3)] == ["http", "http", "circuit_open"]
    assert chat.circuits() == {server.base_url: "open"}
    assert len(server.bodies) == 2
    now[0] = 31.0
    server.steps = [completion()]
    assert await kind_of(chat, llm) == "ok"
    assert chat.circuits() == {server.base_url: "closed"}
    await chat.close()


async def test_answers_that_are_no_use_do_not_open_the_circuit(server: FakeOpenAI) -> None:
    """A server that answers works, whatever it says; only silence and breakage count."""
    chat = RouterClient(ENV, health=TargetHealth(1, 30.0))
    server.steps = [completion(finish_reason="length")]
    assert [await kind_of(chat, an_llm(server)) for _ in range(3)] == ["truncated"] * 3
    server.steps = [refusal(400, "maximum context length")]
    assert [await kind_of(chat, an_llm(server)) for _ in range(2)] == ["http"] * 2
    await chat.close()


async def test_our_own_haste_is_not_held_against_the_server(server: FakeOpenAI) -> None:
    """A time-out far below the configured one opens no circuit; a full one does."""
    chat = RouterClient(ENV, health=TargetHealth(1, 30.0))
    server.steps = [hang]
    assert await kind_of(chat, an_llm(server, timeout_ms=60_000.0), 0.05) == "timeout"
    assert chat.circuits() == {server.base_url: "closed"}
    assert await kind_of(chat, an_llm(server, timeout_ms=60.0), 0.06) == "timeout"
    assert chat.circuits() == {server.base_url: "open"}
    await chat.close()


async def test_a_call_that_is_given_up_ends_at_the_server(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """Cancelling the question closes its connection."""
    began = asyncio.Event()

    async def watched(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            server.left.set()
        raise AssertionError("unreachable")

    server.steps = [watched]
    async with asyncio.TaskGroup() as group:
        call = group.create_task(chat.ask(an_llm(server), MESSAGES, SCHEMA, 30.0))
        await asyncio.wait_for(began.wait(), 10)
        call.cancel()
    await asyncio.wait_for(server.left.wait(), 10)


def thinking(thought: str, finish: str = "stop", **over: Any) -> web.Response:
    """A 200 whose content is empty, and whose thought is this."""
    message = {"role": "assistant", "content": None, "reasoning_content": thought, **over}
    return completion(message=message, finish_reason=finish)


async def test_an_answer_in_the_thought_is_heard(server: FakeOpenAI, chat: RouterClient) -> None:
    """Some servers put all of it there and leave the content empty."""
    server.steps = [thinking(f"The task is small, so: {GOOD}")]
    answer = await ask(chat, an_llm(server))
    assert isinstance(answer, ChatAnswer)
    assert answer.text == GOOD
    assert len(server.bodies) == 1
    server.steps = [thinking("", reasoning=GOOD)]
    answer = await ask(chat, an_llm(server))
    assert isinstance(answer, ChatAnswer)
    assert answer.text == GOOD


@pytest.mark.parametrize(
    "useless",
    [thinking("Hm. Let me see."), thinking(f"Hm {GOOD}", "length"), completion("<think>Hm.")],
    ids=["no answer", "cut off", "tags"],
)
async def test_a_model_that_only_thinks_is_asked_not_to(
    server: FakeOpenAI, chat: RouterClient, useless: web.Response
) -> None:
    """In the same call; it is remembered, and what the first answer cost is on the account."""
    server.steps = [useless, completion()]
    llm = an_llm(server)
    answer = await ask(chat, llm)
    assert isinstance(answer, ChatAnswer)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (100, 18)
    assert await kind_of(chat, llm) == "ok"
    off = {"enable_thinking": False}
    assert [body.get("chat_template_kwargs") for body in server.bodies] == [None, off, off]


async def test_a_model_that_must_think_gets_the_tokens_for_it(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """Where asking it not to think changes nothing, or is turned down."""
    refused = refusal(400, "Unrecognized request argument supplied: chat_template_kwargs")
    server.steps = [thinking("Hm.", "length"), refused, thinking("Hm.", "length"), completion()]
    llm = an_llm(server)
    assert await kind_of(chat, llm) == "ok"
    assert await kind_of(chat, llm) == "ok"
    last = server.bodies[-1]
    assert "chat_template_kwargs" not in last
    assert last["max_completion_tokens"] == 1500
    assert last["reasoning_effort"] == "minimal"


async def test_a_model_that_never_answers_is_not_paid_for_each_time(server: FakeOpenAI) -> None:
    """It rests by itself; another model on the same server does not."""
    now = [0.0]
    chat = RouterClient(ENV, health=TargetHealth(2, 30.0, lambda: now[0]))
    llm = an_llm(server)
    server.steps = [thinking("Hm.")]
    assert [await kind_of(chat, llm) for _ in range(3)] == ["thought", "thought", "circuit_open"]
    asked = len(server.bodies)
    assert await kind_of(chat, llm) == "circuit_open"
    assert len(server.bodies) == asked
    server.steps = [completion()]
    assert await kind_of(chat, replace(llm, model="another")) == "ok"
    now[0] = 31.0
    assert await kind_of(chat, llm) == "ok"
    assert await kind_of(chat, llm) == "ok"
    await chat.close()


TOP = {"content": [{"token": "B", "logprob": -0.1, "top_logprobs": [
    {"token": "B", "logprob": -0.1}, {"token": " A", "logprob": -2.5},
]}]}  # fmt: skip


async def test_one_token_is_asked_for_with_its_alternatives(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """One token is written; what else it could have been comes as probabilities."""
    server.steps = [completion("B", logprobs=TOP, finish_reason="length")]
    answer = await chat.next_token(an_llm(server), MESSAGES, 10.0)
    body = server.bodies[0]
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)
    assert "response_format" not in body
    assert answer.probabilities == {
        "B": pytest.approx(0.9048, abs=1e-3),
        " A": pytest.approx(0.0821, abs=1e-3),
    }
    assert answer.usage.input_tokens == 50


async def test_a_lower_limit_of_alternatives_is_learned(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """Some servers give five at most, and say so once."""
    server.steps = [
        refusal(400, "top_logprobs must be at most 5", "top_logprobs"),
        completion("B", logprobs=TOP),
    ]
    for _ in range(2):
        await chat.next_token(an_llm(server), MESSAGES, 10.0)
    assert [body["top_logprobs"] for body in server.bodies] == [20, 5, 5]
    assert chat.gives_logprobs(an_llm(server))


@pytest.mark.parametrize(
    "said", [refusal(400, "logprobs are not supported", "logprobs"), completion("B")]
)
async def test_a_server_without_log_probabilities_is_remembered(
    server: FakeOpenAI, chat: RouterClient, said: web.Response
) -> None:
    """It is a failure of its own kind, and nothing is sent to find it out again."""
    server.steps = [said]
    for _ in range(2):
        with pytest.raises(RouterLLMFailed) as caught:
            await chat.next_token(an_llm(server), MESSAGES, 10.0)
        assert caught.value.kind == "no_logprobs"
    assert len(server.bodies) == 1
    assert not chat.gives_logprobs(an_llm(server))
    server.steps = [completion()]
    assert await kind_of(chat, an_llm(server)) == "ok"  # by JSON it is asked as before


async def test_another_endpoint_of_the_server_is_posted_to(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """With the key and the trace; one that is not there is told by its status."""
    server.steps = [web.json_response({"answers": []})]
    llm = an_llm(server)
    assert await chat.post(llm, "/chat/completions", {"model": "m"}, 10.0) == {"answers": []}
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    with pytest.raises(RouterLLMFailed) as caught:
        await chat.post(llm, "/systemone", {"model": "m"}, 10.0)
    assert caught.value.status == 404
