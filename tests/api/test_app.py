"""The whole surface on a real socket: answers, headers, refusals, guards."""

from __future__ import annotations

import asyncio
import gzip
import io
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as given_that
from hypothesis import strategies as st

from llmrouter.errors import (
    Problem,
    RefusalBody,
    UpstreamRefused,
)
from tests.api.calls import CHAT, HI, KEYS, ROUTED, bearer
from tests.api.fakes import (
    COMPLETION,
    DECISION,
    FakeDesk,
    FakeGateway,
    client_of,
    services,
    serving,
)
from tests.samples import examples


async def test_route_answers_the_decision_with_its_headers() -> None:
    """The contract's keys, and the decision named in headers as well."""
    async with client_of(services()) as client:
        answer = await client.post("/route", {"prompt": "2+2?"})
    assert answer.status == 200
    assert answer.json == DECISION.public()
    assert answer.headers["x-llmrouter-decision-id"] == "dec-1"
    assert answer.headers["x-llmrouter-target"] == "small"
    assert answer.headers["x-llmrouter-source"] == "llm"


async def test_complete_splices_router_into_the_upstreams_own_bytes() -> None:
    """All that comes before `router` is what the upstream sent."""
    async with client_of(services()) as client:
        answer = await client.post("/complete", HI)
    assert answer.body.startswith(COMPLETION[:-1] + b',"router":{')
    router = answer.json["router"]
    assert {key: router[key] for key in DECISION.public()} == DECISION.public()
    assert router["attempts"] == [
        {"target": "small", "outcome": "ok", "reason": "", "latency_ms": 12.0, "cost_usd": 0.002}
    ]
    assert (router["cost_usd"], router["latency_ms"]) == (0.002, 12.5)


async def test_the_drop_in_leaves_the_body_alone() -> None:
    """An OpenAI client sees its provider's bytes; the decision is in headers."""
    gateway = FakeGateway()
    async with client_of(services(gateway)) as client:
        answer = await client.post("/v1/chat/completions", {**CHAT, "model": "large"})
    assert answer.body == COMPLETION
    assert answer.headers["x-llmrouter-target"] == "small"
    assert gateway.asked[0][0].model == "large"
    assert gateway.replies[0].closed.is_set()


async def test_models_are_auto_and_every_enabled_target() -> None:
    """What OpenAI clients list and retrieve."""
    async with client_of(services()) as client:
        listed = await client.get("/v1/models")
        one = await client.get("/v1/models/large")
        none = await client.get("/v1/models/off")
    assert [model["id"] for model in listed.json["data"]] == ["auto", "small", "large"]
    assert one.json["id"] == "large"
    assert (none.status, none.error["code"]) == (404, "model_not_found")


async def test_feedback_is_kept_with_its_caller() -> None:
    """202, and the gateway hears who said it."""
    gateway = FakeGateway()
    body = {"decision_id": "dec-1", "score": -1, "preferred": "large", "comment": "wrong"}
    async with client_of(services(gateway, keyring=KEYS)) as client:
        answer = await client.post("/feedback", body, headers=bearer("sk-alice"))
    assert answer.status == 202
    feedback, caller = gateway.rated[0]
    assert (feedback.score, feedback.preferred, feedback.caller) == (-1.0, "large", "alice")
    assert caller.name == "alice"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"score": 1}, 400, "decision_id"),
        ({"decision_id": "dec-1"}, 400, "score"),
        ({"decision_id": "dec-1", "score": 1.5}, 400, "score"),
        ({"decision_id": "dec-1", "score": True}, 400, "score"),
        ({"decision_id": 7, "score": 1}, 400, "decision_id"),
        ({"decision_id": "dec-1", "score": 1, "coment": "x"}, 400, "coment"),
        ({"decision_id": "dec-1", "score": 1, "comment": "x" * 4001}, 400, "comment"),
        ({"decision_id": "nope", "score": 1}, 404, None),
        ([], 400, None),
    ],
)
async def test_wrong_feedback_is_refused(body: Any, status: int, param: str | None) -> None:
    """Each mistake is named."""
    async with client_of(services()) as client:
        answer = await client.post("/feedback", body)
    assert (answer.status, answer.error["param"]) == (status, param)


async def test_the_catalog_shows_no_addresses_and_no_names_of_secrets() -> None:
    """What callers may know of a target is what it costs and does."""
    async with client_of(services()) as client:
        answer = await client.get("/catalog")
    assert [target["id"] for target in answer.json["targets"]] == ["small", "large", "off"]
    assert "base_url" not in answer.body.decode()
    assert "api_key_env" not in answer.body.decode()


async def test_decisions_are_listed_and_found() -> None:
    """By number and by name; the limit is checked."""
    async with client_of(services()) as client:
        listed = await client.get("/decisions?limit=1")
        one = await client.get("/decisions/dec-1")
        none = await client.get("/decisions/nope")
        for wrong in ("0", "1001", "x", "-1", "", "1e2", "٣", "9" * 5000):
            answer = await client.get("/decisions", params={"limit": wrong})
            assert (answer.status, answer.error["param"]) == (400, "limit")
    assert listed.json["decisions"] == [one.json]
    assert none.status == 404


async def test_a_broken_edit_shows_and_does_not_take_the_service_down() -> None:
    """The last good catalog serves on."""
    desk = FakeDesk()
    desk.problems = (Problem("catalog/small.md", 3, "unknown key pric; did you mean price?"),)
    async with client_of(services(catalog=desk)) as client:
        answer = await client.get("/readyz")
    assert answer.status == 200
    assert answer.json["catalog"]["problems"][0]["line"] == 3


async def test_what_an_upstream_refused_is_answered_as_it_said() -> None:
    """Clients know their provider's errors."""
    gateway = FakeGateway()
    body = b'{"error":{"message":"bad tool","type":"x","param":null,"code":"y"},"id":1}'
    gateway.fails = UpstreamRefused("bad tool", RefusalBody(418, body))
    async with client_of(services(gateway)) as client:
        answer = await client.post("/v1/chat/completions", CHAT)
    assert (answer.status, answer.body) == (418, body)


async def test_unknown_paths_and_methods_have_envelopes() -> None:
    """404 and 405 look like every other error; OPTIONS says what is allowed, to no other site."""
    async with client_of(services()) as client:
        lost = await client.get("/v1/nothing")
        wrong = await client.get("/route")
        options = await client.call("OPTIONS", "/route", headers={"Origin": "http://evil.test"})
        head = await client.call("HEAD", "/healthz")
    assert (lost.status, lost.error["code"]) == (404, "not_found")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")
    assert (options.status, options.headers["Allow"]) == (204, "POST")
    assert not [name for name in options.headers if name.lower().startswith("access-control")]
    assert (head.status, head.body) == (200, b"")


async def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    """By its announced length, by counting when none is announced, and once decompressed."""
    given = services(max_body_bytes=10_000)

    async def pieces() -> Any:
        for _ in range(30):
            yield b"x" * 1000

    async with client_of(given) as client:
        announced = await client.call("POST", "/route", data=io.BytesIO(b"x" * 50_000_000))
        counted = await client.call("POST", "/route", data=pieces())
        packed = await client.post(
            "/route", gzip.compress(b"x" * 50_000), headers={"Content-Encoding": "gzip"}
        )
        waiting = await client.call("POST", "/route", data=b"x" * 20_000, expect100=True)
        fine = await client.call("POST", "/route", json=HI, expect100=True)
    for answer in (announced, counted, packed, waiting):
        assert (answer.status, answer.error["code"]) == (413, "payload_too_large")
    assert fine.status == 200


async def test_a_packed_body_is_unpacked_and_a_broken_one_refused() -> None:
    """gzip is what HTTP clients send when told to save bytes."""
    good = gzip.compress(b'{"prompt":"hi"}')
    async with client_of(services()) as client:
        headers = {"Content-Encoding": "gzip"}
        assert (await client.post("/route", good, headers=headers)).status == 200
        broken = await client.post("/route", b"not gzip at all", headers=headers)
    assert broken.status == 400
    assert broken.error["code"] == "invalid_body"


@pytest.mark.parametrize("path", list(ROUTED))
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"{}", b'{"messages":[]}'])
async def test_bad_bodies_never_reach_the_gateway(path: str, body: bytes) -> None:
    """400 before anything is decided."""
    gateway = FakeGateway()
    async with client_of(services(gateway)) as client:
        answer = await client.post(path, body)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert gateway.asked == []


async def test_stats_say_who_asks() -> None:
    """Figures are for the caller's key."""
    async with client_of(services(keyring=KEYS)) as client:
        answer = await client.get("/stats", headers=bearer("sk-bob"))
    assert answer.json == {"decisions": 1, "caller": "bob"}


async def test_the_console_runs_nothing_but_itself() -> None:
    """Its policy allows the service's own files and nothing inline; all addresses are relative."""
    async with client_of(services()) as client:
        answer = await client.get("/")
        page = answer.body.decode()
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        files = re.findall(r'(?:src|href)="([^"#]+)"', page)
        assert {"console/app.js", "console/base.css", "console/uplot.js"} <= set(files)
        for name in files:
            assert (await client.get(f"/{name}")).status == 200, name
        assert not re.search(r"<script[^>]*>[^<]|<style| style=| on[a-z]+=|https?://", page)
        tag = {"If-None-Match": answer.headers["ETag"]}
        assert (await client.get("/", headers=tag)).status == 304
        gone = await client.get("/console/secrets.txt")
    assert (gone.status, gone.error["code"]) == (404, "not_found")


async def test_whoami_says_whose_key_it_is() -> None:
    """A caller's own name and rights; what a service lacks is told as well."""
    async with client_of(services(keyring=KEYS)) as client:
        bob = await client.get("/whoami", headers=bearer("sk-bob"))
        stranger = await client.get("/whoami", headers=bearer("sk-nobody"))
    assert (bob.json["name"], bob.json["admin"], bob.json["open"]) == ("bob", False, False)
    assert bob.json["can"]["canary"] is False
    assert stranger.status == 401


async def test_bytes_that_are_not_http_leave_no_secret_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The parser's own message quotes the header it stumbled on."""
    async with serving(services()) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-\x00\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert "sk-" not in caplog.text


HEADER_VALUES = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30
)


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given_that(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]),
    st.sampled_from([*ROUTED, "/feedback", "/decisions", "/catalog/x", "/v1/models/%00", "/é"]),
    st.binary(max_size=60) | st.just(b'{"messages":[{"role":"user","content":"hi"}],"model":"a"}'),
    st.dictionaries(
        st.sampled_from(
            [
                "Authorization",
                "x-api-key",
                "Content-Type",
                "Accept",
                "traceparent",
                "Cookie",
                "Origin",
            ]
        ),
        HEADER_VALUES,
        max_size=3,
    ),
)
async def test_nothing_sent_is_a_defect(
    method: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    """Whatever arrives, the answer is a documented one and never a 5xx."""
    async with client_of(services(keyring=KEYS)) as client:
        answer = await client.call(method, path, data=body, headers=headers)
    assert answer.status < 500
    if answer.status >= 400 and method != "HEAD":
        assert answer.error["message"]


async def test_a_base_path_stands_before_every_path() -> None:
    """Nothing is answered outside it; it leads to the console, and the document says where."""
    given = replace(services(), base_path="/team/llm")
    async with client_of(given) as client:
        for path in ("/healthz", "/openapi.json", "/", "/v1/models", "/stats"):
            assert (await client.get("/team/llm" + path)).status == 200, path
            assert (await client.get(path)).status == 404, path
        routed = await client.post("/team/llm/route", {"prompt": "hi"})
        assert (routed.status, routed.json["target"]) == (200, "small")
        assert (await client.post("/route", {"prompt": "hi"})).status == 404
        moved = await client.call("GET", "/team/llm", allow_redirects=False)
        assert (moved.status, moved.headers["Location"]) == (308, "/team/llm/")
        document = (await client.get("/team/llm/openapi.json")).json
        assert document["servers"] == [{"url": "/team/llm"}]
        assert "/route" in document["paths"]
        wrong = await client.post("/team/llm/v1/messages", {"model": 7})
        assert (wrong.status, wrong.json["type"]) == (400, "error")


async def test_without_a_base_path_the_service_is_at_the_root() -> None:
    """The document says so too."""
    async with client_of(services()) as client:
        assert (await client.get("/openapi.json")).json["servers"] == [{"url": "/"}]
