"""What stands before every handler: load, keys, quotas, errors, spans; on a real socket."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from llmrouter.api.load_shedding import LoadShedder
from llmrouter.domain.chat import Caller
from llmrouter.errors import (
    DeadlineExceeded,
    NoEligibleTarget,
    Overloaded,
    UpstreamFailed,
)
from llmrouter.ratelimit.key_limits import RateLimiter
from llmrouter.ratelimit.policies import KeyPolicy
from llmrouter.ratelimit.sliding_window import Quota
from tests.api.calls import CHAT, HI, KEYS, ROUTED, bearer
from tests.api.fakes import (
    DECISION,
    Counters,
    FakeDesk,
    FakeGateway,
    FakeTelemetry,
    client_of,
    services,
)


async def test_health_readiness_and_metrics_need_no_key() -> None:
    """Probes and scrapers carry none."""
    async with client_of(services(keyring=KEYS)) as client:
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/"):
            assert (await client.get(path)).status == 200, path
        for path in ("/stats", "/decisions", "/catalog", "/v1/models"):
            assert (await client.get(path)).status == 401, path


async def test_without_a_catalog_or_while_leaving_the_service_is_not_ready() -> None:
    """A load balancer should send nothing here."""
    async with client_of(services(catalog=FakeDesk(None))) as client:
        answer = await client.get("/readyz")
        assert (answer.status, answer.json["status"]) == (503, "no catalog")
    admission = LoadShedder()
    async with client_of(services(admission=admission)) as client:
        admission.begin_leaving()
        assert (await client.get("/readyz")).status == 503
        served = await client.post("/route", HI)
        assert (served.status, served.headers["Connection"]) == (200, "close")
        admission.begin_draining()
        refused = await client.post("/route", HI)
        assert (refused.status, refused.error["code"]) == (503, "draining")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await client.get("/healthz")).status == 200


async def test_overload_is_refused_at_once_and_what_runs_finishes() -> None:
    """No queue: the second request does not wait for the first."""
    gateway = FakeGateway()
    gateway.hold = asyncio.Event()
    admission = LoadShedder(limit=1)
    async with client_of(services(gateway, admission=admission)) as client:
        first = asyncio.ensure_future(client.post("/route", HI))
        await gateway.entered.wait()
        second = await client.post("/route", HI)
        assert (second.status, second.headers["Retry-After"]) == (503, "1")
        gateway.hold.set()
        assert (await first).status == 200
        assert admission.running == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoEligibleTarget("small: too expensive; large: tier"), 422),
        (UpstreamFailed("all failed"), 502),
        (Overloaded("full", retry_after_s=2.3), 503),
        (DeadlineExceeded("too late"), 504),
    ],
)
@pytest.mark.parametrize("path", list(ROUTED))
async def test_errors_have_the_status_they_know(path: str, error: Any, status: int) -> None:
    """One table from error to answer, on every routed call."""
    gateway = FakeGateway()
    gateway.fails = error
    telemetry = FakeTelemetry()
    async with client_of(services(gateway, telemetry=telemetry)) as client:
        answer = await client.post(path, ROUTED[path])
    assert answer.status == status
    assert answer.error["message"] == error.message
    assert answer.headers.get("Retry-After") == ("3" if status == 503 else None)
    span = telemetry.spans[0]
    assert span.attributes["http.response.status_code"] == status
    assert span.failed == (error.label if status >= 500 else None)


async def test_a_defect_says_nothing_about_its_insides(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has the traceback, the caller has an envelope."""
    gateway = FakeGateway()
    gateway.fails = RuntimeError("password=hunter2")
    async with client_of(services(gateway)) as client:
        answer = await client.post("/route", HI)
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert b"hunter2" not in answer.body
    assert "hunter2" in caplog.text


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://127.0.0.1:1"])
async def test_pages_of_other_sites_cannot_use_an_open_service(origin: str) -> None:
    """A form post needs no permission of ours to be sent, and would be paid for by us."""
    gateway = FakeGateway()
    sent = {"Origin": origin, "Content-Type": "text/plain"}
    async with client_of(services(gateway)) as client:
        for path, body in ROUTED.items():
            refused = await client.call("POST", path, json=body, headers={"Origin": origin})
            assert (refused.status, refused.error["code"]) == (403, "cross_origin")
        simple = await client.call("POST", "/route", data=b'{"prompt": "hi"}', headers=sent)
        assert simple.status == 403
        assert gateway.asked == []
        own = {"Origin": client.address}
        assert (await client.post("/route", HI, headers=own)).status == 200
    async with client_of(services(gateway, keyring=KEYS)) as client:
        keyed = {"Origin": origin, **bearer("sk-bob")}
        assert (await client.post("/route", HI, headers=keyed)).status == 200


async def test_keys_tiers_and_challenges() -> None:
    """A key speaks for its tier; no key, or an unknown one, speaks for nobody."""
    gateway = FakeGateway()
    async with client_of(services(gateway, keyring=KEYS)) as client:
        none = await client.post("/route", HI)
        wrong = await client.post("/route", HI, headers=bearer("sk-eve"))
        same = await client.post(
            "/route", {**HI, "router": {"tier": "pro"}}, headers={"x-api-key": "sk-alice"}
        )
    assert (none.status, wrong.status, same.status) == (401, 401, 200)
    assert none.headers["WWW-Authenticate"].startswith("Bearer ")
    assert none.error["code"] == "invalid_api_key"
    assert gateway.asked[0][1].tier == "pro"


async def test_a_request_quota_is_exact_under_concurrency() -> None:
    """Fifty at once, ten allowed: ten pass."""
    limits = RateLimiter({"*": KeyPolicy(requests=Quota(10, 60))}, Counters())  # type: ignore[arg-type]  # the part of a store it uses
    given = services(keyring=KEYS, limits=limits)
    async with client_of(given) as client:
        answers = await asyncio.gather(
            *(client.post("/route", HI, headers=bearer("sk-bob")) for _ in range(50))
        )
        other = await client.post("/route", HI, headers=bearer("sk-alice"))
    assert sum(answer.status == 200 for answer in answers) == 10
    refused = next(answer for answer in answers if answer.status == 429)
    assert 1 <= int(refused.headers["Retry-After"]) <= 63
    assert refused.error["type"] == "rate_limit_error"
    assert other.status == 200


async def test_every_routed_answer_says_how_its_keys_quotas_stand() -> None:
    """Whole answers, streams, refusals and errors; paths that count nothing say nothing."""
    policy = KeyPolicy(Quota(4, 60), Quota(100_000, 60))
    gateway = FakeGateway()
    limits = RateLimiter({"bob": policy}, Counters())  # type: ignore[arg-type]  # the part of a store it uses
    key = {"headers": bearer("sk-bob")}
    async with client_of(services(gateway, keyring=KEYS, limits=limits)) as client:
        answers = [
            await client.post("/route", HI, **key),
            await client.post("/v1/chat/completions", CHAT, **key),
            await client.post("/complete", {**HI, "stream": True}, **key),
            await client.post("/complete", b"{", **key),
            await client.post("/route", HI, **key),
        ]
        free = await client.get("/stats", **key)
        other = await client.post("/route", HI, headers=bearer("sk-alice"))
    assert [answer.status for answer in answers] == [200, 200, 200, 400, 429]
    left = [answer.headers["x-ratelimit-remaining-requests"] for answer in answers]
    assert left == ["3", "2", "1", "0", "0"]
    tokens = [int(answer.headers["x-ratelimit-remaining-tokens"]) for answer in answers]
    assert tokens[0] == 100_000
    assert tokens[1] == 100_000 - 4  # what the answer took
    assert tokens[2] < tokens[1] - 4  # what a stream that has only begun may take
    assert tokens[3] == tokens[1] - 4
    assert not [name for name in (*free.headers, *other.headers) if "ratelimit" in name.lower()]


async def test_a_spend_budget_counts_what_replies_cost() -> None:
    """Streaming or not, the truth is on the bill; failures are not."""
    limits = RateLimiter({"*": KeyPolicy(spend_usd=Quota(1.0, 3600))}, Counters())  # type: ignore[arg-type]  # the part of a store it uses
    gateway = FakeGateway()
    gateway.cost_usd = 0.4
    async with client_of(services(gateway, limits=limits)) as client:
        for stream in (False, True):
            answer = await client.post("/complete", {**HI, "stream": stream})
            assert answer.status == 200
        gateway.fails = UpstreamFailed("all failed")
        assert (await client.post("/complete", HI)).status == 502
        gateway.fails = None
        assert (await client.post("/complete", HI)).status == 200
        refused = await client.post("/complete", HI)
    assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")


async def test_a_decision_of_the_router_llm_is_on_the_bill_too() -> None:
    """/route executes nothing and may still cost something."""
    limits = RateLimiter({"*": KeyPolicy(spend_usd=Quota(0.01, 3600))}, Counters())  # type: ignore[arg-type]  # the part of a store it uses
    gateway = FakeGateway()
    gateway.decision = replace(DECISION, router_cost_usd=0.02)
    async with client_of(services(gateway, limits=limits)) as client:
        assert (await client.post("/route", HI)).status == 200
        assert (await client.post("/complete", HI)).status == 429


async def test_every_request_has_a_span_with_its_route() -> None:
    """Templates, not paths, so that ids do not multiply series."""
    telemetry = FakeTelemetry()
    async with client_of(services(telemetry=telemetry)) as client:
        await client.get("/decisions/dec-1")
        await client.get("/nowhere")
    assert [
        (span.attributes["route"], span.attributes["http.response.status_code"])
        for span in telemetry.spans
    ] == [("/decisions/{id}", 200), ("unmatched", 404)]


async def test_callers_are_told_apart() -> None:
    """The gateway hears each caller as the keyring knows it."""
    gateway = FakeGateway()
    async with client_of(services(gateway, keyring=KEYS)) as client:
        await client.post("/route", HI, headers=bearer("sk-admin"))
    assert gateway.asked[0][1] == Caller("admin", admin=True)
