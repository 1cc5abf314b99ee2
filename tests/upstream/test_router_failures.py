"""What the router LLM's server says instead of an answer, on a real socket: its errors are read by
the table that the targets' are read by, its bill is bounded, and nothing that it took is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from llmrouter.domain.completion import Usage
from llmrouter.errors import RouterLLMFailed
from llmrouter.upstream.health import TargetHealth
from llmrouter.upstream.router_client import RouterClient
from tests.domain.test_provider_errors import KEY, KEY_INVALID, LOW, TOKENS, TPM, anthropic, google
from tests.domain.test_provider_errors import error as openai_error
from tests.upstream.test_router_client import (
    ENV,
    GOOD,
    MESSAGES,
    SCHEMA,
    FakeOpenAI,
    an_llm,
    ask,
    chat,
    completion,
    hang,
    kind_of,
    server,
)

__all__ = ["chat", "server"]

NO_CREDIT = "its account at the provider is used up"
LIMITED = "rate limited by its provider"
OWN_WORDS: list[tuple[int, Any, str]] = [
    (400, anthropic("invalid_request_error", LOW), NO_CREDIT),
    (402, openai_error("Insufficient Balance"), NO_CREDIT),
    (403, {"code": "x", "error": "Your newly created team doesn't have any credits."}, NO_CREDIT),
    (413, openai_error(TPM, type="tokens", code="rate_limit_exceeded"), LIMITED),
    (400, {"__type": "com.amazon.x#ThrottlingException", "message": "Too many"}, LIMITED),
    (200, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, LIMITED),
    (200, {"error": {"message": "pay", "code": 402}}, NO_CREDIT),
]


@pytest.mark.parametrize(("status", "said", "rest"), OWN_WORDS)
async def test_an_empty_account_and_a_limit_rest_the_model_whatever_their_status(
    server: FakeOpenAI, chat: RouterClient, status: int, said: Any, rest: str
) -> None:
    """The next question is not sent, how we ask is not doubted, and the server counts as well."""
    llm = an_llm(server, retries=0)
    server.steps = [web.json_response(said, status=status)]
    assert await kind_of(chat, llm) == "http"
    assert rest in str(await ask(chat, llm))
    assert len(server.bodies) == 1
    assert chat.circuits() == {server.base_url: "closed"}
    assert not chat.dialect(llm).rejected


ANOTHER_MATTER: list[tuple[int, Any]] = [
    (400, [google(400, TOKENS, "INVALID_ARGUMENT")]),
    (400, {"message": "Input is too long for requested model."}),
    (400, openai_error("response_format: x", type="exceed_context_size_error")),
    (500, openai_error("Context size has been exceeded.", type="server_error")),
    (400, [google(400, KEY, "INVALID_ARGUMENT", details=KEY_INVALID)]),
    (400, openai_error("Content violates usage guidelines.")),
    (400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model"}),
]


@pytest.mark.parametrize(("status", "said"), ANOTHER_MATTER)
async def test_what_is_not_about_how_we_asked_is_asked_once(
    server: FakeOpenAI, chat: RouterClient, status: int, said: Any
) -> None:
    """A prompt too long, a bad key, moderation and an unknown model drop no form, in any words."""
    llm = an_llm(server)
    server.steps = [web.json_response(said, status=status)]
    assert await kind_of(chat, llm) in ("http", "misconfigured")
    assert len(server.bodies) == 1
    assert not chat.dialect(llm).rejected


async def test_errors_in_a_200_open_the_circuit_like_others(server: FakeOpenAI) -> None:
    """A server that only ever says so is left alone."""
    chat = RouterClient(ENV, health=TargetHealth(2, 30.0))
    llm = an_llm(server, retries=0)
    server.steps = [web.json_response({"error": {"message": "the worker died", "code": 500}})]
    kinds = [await kind_of(chat, llm) for _ in range(3)]
    assert kinds == ["http", "http", "circuit_open"]
    await chat.close()


def counted(usage: Any, text: str | None = GOOD, **over: Any) -> web.Response:
    """An answer with this usage."""
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop", **over}
    return web.json_response({"model": "m", "usage": usage, "choices": [choice]})


async def test_a_bill_that_no_question_can_come_to_is_cut(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """Of answers, of failures, and of single tokens; an honest one is taken as it is."""
    llm = an_llm(server, retries=0)
    absurd = {"prompt_tokens": 10**11, "completion_tokens": 10**11}
    server.steps = [counted(absurd)]
    said = await ask(chat, llm)
    assert not isinstance(said, RouterLLMFailed)
    assert said.usage.input_tokens < 10_000
    assert said.usage.output_tokens < 10_000
    server.steps = [counted(absurd, finish_reason="length")]
    failed = await ask(chat, llm)
    assert isinstance(failed, RouterLLMFailed)
    assert failed.input_tokens + failed.output_tokens < 20_000
    top = [{"token": "a", "logprob": -0.1}]
    told = {"content": [{"token": "a", "logprob": -0.1, "top_logprobs": top}]}
    server.steps = [counted(absurd, "a", logprobs=told)]
    token = await chat.next_token(llm, MESSAGES, 5.0)
    assert token.usage.input_tokens < 10_000
    server.steps = [completion()]
    said = await ask(chat, llm)
    assert not isinstance(said, RouterLLMFailed)
    assert said.usage == Usage(50, 9)


CACHED: list[Any] = [
    {"prompt_tokens": 50, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 40}},
    {"prompt_tokens": 50, "completion_tokens": 9, "cached_tokens": 40},
    {"prompt_tokens": 50, "completion_tokens": 9, "prompt_cache_hit_tokens": 40},
    {"input_tokens": 10, "output_tokens": 9, "cache_read_input_tokens": 40},
]


@pytest.mark.parametrize("usage", CACHED)
async def test_what_was_read_from_a_cache_is_told_of_answers_and_of_failures(
    server: FakeOpenAI, chat: RouterClient, usage: Any
) -> None:
    """In every spelling, so that it is billed at its own price."""
    llm = an_llm(server, retries=0, price_input=1.0, price_cached=0.1)
    server.steps = [counted(usage)]
    said = await ask(chat, llm)
    assert not isinstance(said, RouterLLMFailed)
    assert (said.usage.input_tokens, said.usage.cached_tokens) == (50, 40)
    assert llm.cost_usd(50, 0, 40) == pytest.approx(14e-6)
    server.steps = [counted(usage, "", finish_reason="length")]
    failed = await ask(chat, llm)
    assert isinstance(failed, RouterLLMFailed)
    assert (failed.input_tokens, failed.cached_tokens) == (50, 40)


async def test_an_answer_that_never_comes_has_its_question_billed(
    server: FakeOpenAI, chat: RouterClient
) -> None:
    """As an estimate: the server has read it."""
    server.steps = [hang]
    long = [{"role": "user", "content": "word " * 400}]
    with pytest.raises(RouterLLMFailed) as caught:
        async with asyncio.timeout(5):
            await chat.ask(an_llm(server), long, SCHEMA, 0.05)
    assert caught.value.kind == "timeout"
    assert caught.value.input_tokens == 500
