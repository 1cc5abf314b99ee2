"""What an answer says of its execution: who served it, after how many attempts, and what failed."""

from __future__ import annotations

from typing import Any

import pytest

from llmrouter.domain.completion import Attempt
from llmrouter.errors import (
    DeadlineExceeded,
    Overloaded,
    RefusalBody,
    UpstreamFailed,
    UpstreamRefused,
)
from llmrouter.ratelimit.key_limits import RateLimiter
from llmrouter.ratelimit.policies import KeyPolicy
from llmrouter.ratelimit.sliding_window import Quota
from tests.api.fakes import DECISION, Counters, FakeGateway, client_of, services

HI = {"messages": [{"role": "user", "content": "2+2?"}]}
CHAT = {"model": "auto", **HI}
EXECUTED = {"/complete": HI, "/v1/chat/completions": CHAT}
FAILED = Attempt("small", "failed", "status: 500", 3.0, 0.001)
DECIDED = {
    "x-llmrouter-decision-id": "dec-1",
    "x-llmrouter-target": "small",
    "x-llmrouter-source": "llm",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", list(EXECUTED))
async def test_an_answer_after_a_fallback_says_who_served_it(path: str, stream: bool) -> None:
    """The decision's headers stay the decision's; who answered instead has its own."""
    gateway = FakeGateway()
    gateway.failed, gateway.answered_by = (FAILED,), "large"
    async with client_of(services(gateway)) as client:
        answer = await client.post(path, {**EXECUTED[path], "stream": stream})
    assert answer.status == 200
    assert {name: answer.headers[name] for name in DECIDED} == DECIDED
    assert answer.headers["x-llmrouter-served-by"] == "large"
    assert answer.headers["x-llmrouter-attempts"] == "2"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_as_decided_needs_no_more_headers(stream: bool) -> None:
    """The decided target at the first attempt is what absent headers mean."""
    async with client_of(services()) as client:
        answer = await client.post("/complete", {**HI, "stream": stream})
    assert {name: answer.headers[name] for name in DECIDED} == DECIDED
    assert "x-llmrouter-served-by" not in answer.headers
    assert "x-llmrouter-attempts" not in answer.headers


@pytest.mark.parametrize("path", list(EXECUTED))
async def test_a_defect_after_a_decision_names_the_decision_too(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its log line is found by the time, the decision by its id; the caller is told no more."""
    gateway = FakeGateway()
    gateway.unanswered = ZeroDivisionError("a secret")
    async with client_of(services(gateway)) as client:
        answer = await client.post(path, EXECUTED[path])
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal_error")
    assert {name: answer.headers[name] for name in DECIDED} == DECIDED
    assert ("router" in answer.json) is (path == "/complete")
    assert "a secret" not in answer.body.decode()
    assert "a secret" in caplog.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (lambda: UpstreamFailed("every attempt failed"), 502),
        (lambda: Overloaded("all full", retry_after_s=2.0), 503),
        (lambda: DeadlineExceeded("too late"), 504),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", list(EXECUTED))
async def test_an_error_after_a_decision_names_the_decision(
    path: str, stream: bool, error: Any, status: int
) -> None:
    """Else nobody could look up why; `/complete` tells what was tried as well."""
    gateway = FakeGateway()
    gateway.unanswered, gateway.failed = error(), (FAILED, FAILED)
    async with client_of(services(gateway)) as client:
        answer = await client.post(path, {**EXECUTED[path], "stream": stream})
    assert answer.status == status
    assert {name: answer.headers[name] for name in DECIDED} == DECIDED
    assert answer.headers["x-llmrouter-attempts"] == "2"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers.get("Retry-After") == ("2" if status == 503 else None)
    assert answer.json["error"]["code"] == error().code
    router = answer.json.get("router")
    if path == "/complete":
        assert {key: router[key] for key in DECISION.public()} == DECISION.public()
        assert [attempt["reason"] for attempt in router["attempts"]] == ["status: 500"] * 2
        assert router["cost_usd"] == 0.002
    else:
        assert router is None


@pytest.mark.parametrize("path", list(EXECUTED))
async def test_an_upstreams_refusal_is_relayed_with_the_decision(path: str) -> None:
    """Its own body on the drop-in, byte for byte; on `/complete` with `router` beside it."""
    gateway = FakeGateway()
    body = b'{"error":{"message":"bad tool","type":"x","param":null,"code":"y"},"id":1}'
    gateway.unanswered = UpstreamRefused(
        "bad tool", RefusalBody(422, body, "application/json; charset=utf-8")
    )
    gateway.failed = (FAILED,)
    async with client_of(services(gateway)) as client:
        answer = await client.post(path, EXECUTED[path])
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert {name: answer.headers[name] for name in DECIDED} == DECIDED
    if path == "/complete":
        assert answer.body.startswith(body[:-1] + b',"router":{')
        assert answer.json["router"]["attempts"]
    else:
        assert answer.body == body


async def test_failures_that_cost_are_on_the_bill_and_others_are_given_back() -> None:
    """A cascade that was turned down has been paid for; a target that was down has not."""
    limits = RateLimiter({"*": KeyPolicy(spend_usd=Quota(1.0, 3600))}, Counters())  # type: ignore[arg-type]  # the part of a store it uses
    gateway = FakeGateway()
    gateway.unanswered = UpstreamFailed("every attempt failed")
    async with client_of(services(gateway, limits=limits)) as client:
        for cost, status in ((0.0, 502), (0.0, 502), (1.0, 502), (0.0, 429)):
            gateway.failed = (Attempt("small", "rejected", "", 1.0, cost),)
            answer = await client.post("/complete", HI)
            assert answer.status == status
