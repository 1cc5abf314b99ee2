"""Tests of the names this service answers to, and of pages of other sites, on a real socket."""

from __future__ import annotations

import pytest

from llmrouter.api.middleware.hosts import HostPolicy, host_policy
from llmrouter.auth.api_keys import Authenticator, parse_keys
from tests.api.fakes import client_of, services

BODY = b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}'
OPEN = host_policy("router.example, *.corp.example", "https://app.example", "box")
CALLS = (
    ("POST", "/route"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/decisions"),
    ("GET", "/catalog"),
    ("GET", "/metrics"),
    ("GET", "/readyz"),
    ("GET", "/"),
    ("GET", "/nowhere"),
    ("OPTIONS", "/route"),
)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "router.example.evil"])
async def test_a_foreign_name_is_misdirected_on_every_path(
    call: tuple[str, str], host: str
) -> None:
    """A page that points its own name at the loopback gets nothing, whatever Origin it sends."""
    async with client_of(services(hosts=OPEN)) as client:
        for origin in ({}, {"Origin": f"http://{host}"}, {"X-Forwarded-Host": "localhost"}):
            answer = await client.call(*call, data=BODY, headers={"Host": host, **origin})
            assert answer.status == 421
            assert answer.error["code"] == "misdirected_request"
            assert "LLMROUTER_HOSTS" in answer.error["message"]
            assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8080", "LOCALHOST", "app.localhost", "127.0.0.1:1", "[::1]:8080"),
        *("10.1.2.3:8080", "box", "router.example", "Router.Example:443", "a.b.corp.example"),
    ],
)
async def test_its_own_names_and_addresses_in_figures_are_answered(host: str) -> None:
    """Loopback names, the bound one, the operator's, and what probes use."""
    async with client_of(services(hosts=OPEN)) as client:
        assert (await client.get("/healthz", headers={"Host": host})).status == 200
        assert (await client.post("/route", BODY, headers={"Host": host})).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
async def test_pages_of_other_sites_may_not_call_an_open_service(origin: str) -> None:
    """Another port is another site; the request's own host is not."""
    async with client_of(services(hosts=OPEN)) as client:
        for method, path in CALLS[:4]:
            answer = await client.call(method, path, data=BODY, headers={"Origin": origin})
            assert (answer.status, answer.error["code"]) == (403, "cross_origin")
        own = await client.post("/route", BODY, headers={"Origin": client.address})
        assert own.status == 200
        assert "Access-Control-Allow-Origin" not in own.headers


async def test_pages_of_an_allowed_origin_call_and_read_answers_errors_included() -> None:
    """The browser asks first (OPTIONS), then finds its origin on every kind of answer."""
    origin = {"Origin": "https://app.example"}
    async with client_of(services(hosts=OPEN)) as client:
        asking = {**origin, "Access-Control-Request-Method": "POST"}
        asking["Access-Control-Request-Headers"] = "authorization,content-type"
        asked = await client.call("OPTIONS", "/v1/chat/completions", headers=asking)
        assert asked.status == 204
        assert "POST" in asked.headers["Access-Control-Allow-Methods"]
        assert asked.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
        stream = BODY[:-1] + b',"stream":true}'
        answers = [
            await client.post("/route", BODY, headers=origin),
            await client.post("/complete", BODY, headers=origin),
            await client.post("/complete", stream, headers=origin),
            await client.post("/route", b"no", headers=origin),
            await client.get("/nowhere", headers=origin),
            asked,
        ]
    assert [a.headers.get("Access-Control-Allow-Origin") for a in answers] == [origin["Origin"]] * 6
    assert all(answer.headers["Vary"] == "Origin" for answer in answers)


async def test_with_keys_a_page_without_one_is_refused_by_its_missing_key() -> None:
    """Keys tell callers apart, so an Origin is no reason; its page still cannot read the answer."""
    given = services(hosts=OPEN, keyring=Authenticator(parse_keys("me:secret")))
    headers = {"Origin": "https://evil.example"}
    async with client_of(given) as client:
        assert (await client.post("/route", BODY, headers=headers)).status == 401
        known = await client.post("/route", BODY, headers={**headers, "x-api-key": "secret"})
    assert known.status == 200
    assert "Access-Control-Allow-Origin" not in known.headers


@pytest.mark.parametrize(
    "host", ["", ":80", "[", "a" * 5000, "x\u00e9", "1.2.3.4.5", "0x7f.1", "[::1]x"]
)
def test_strange_names_are_no_names_of_ours(host: str) -> None:
    """Nothing that cannot be read as an address counts as one."""
    assert not HostPolicy().answers(host)
