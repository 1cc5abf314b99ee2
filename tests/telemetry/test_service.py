"""The whole service under one collector: what a request leaves behind, seen from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire

from llmrouter.bootstrap import service
from llmrouter.settings import Settings
from llmrouter.simulator.app import SimOptions, create_app
from tests.telemetry.receiver import Receiver, receiver, values

PROMPTS = Path(__file__).parents[2] / "prompts"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "xylophone marmalade zeppelin"


@dataclass
class Running:
    """The service, what its upstream was sent, and its collector (filled once it has closed)."""

    client: Any
    upstream_headers: list[dict[str, str]]


@asynccontextmanager
async def running(
    collector: Receiver, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> AsyncIterator[Running]:
    """The service in front of the simulator, exporting to `collector`."""
    heard: list[dict[str, str]] = []

    @web.middleware
    async def hear(request: web.Request, handler: Any) -> web.StreamResponse:
        heard.append({key.lower(): value for key, value in request.headers.items()})
        answer: web.StreamResponse = await handler(request)
        return answer

    simulated = create_app(SimOptions(latency_scale=0))
    simulated.middlewares.append(hear)
    async with TestServer(simulated) as upstream:
        monkeypatch.setenv("LLMROUTER_DEMO_UPSTREAM", str(upstream.make_url("/v1")))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        settings = Settings(prompts=PROMPTS, store=f"disk:{folder / 'store'}", _env_file=None)
        async with service(settings) as built, TestClient(TestServer(built.app)) as client:
            yield Running(client, heard)


def asked(text: str, **over: Any) -> dict[str, Any]:
    """A chat-completions body."""
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **over}


async def test_one_trace_from_caller_to_both_models(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SERVER, route, router CLIENT and target CLIENT, linked; both servers were sent their span."""
    caller = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    async with receiver() as collector:
        async with running(collector, monkeypatch, tmp_path) as here:
            answered = await here.client.post(
                "/v1/chat/completions",
                json=asked(f"Prove the theorem about a {SECRET}.", router={"strategy": "llm"}),
                headers=caller,
            )
            assert answered.status == 200, await answered.text()
            target = answered.headers["x-llmrouter-target"]
            assert answered.headers["x-llmrouter-source"] == "llm"
        mine = [span for span in collector.spans if span.trace_id.hex() == TRACE]
        bodies = collector.raw
    server = next(span for span in mine if span.kind == Wire.SPAN_KIND_SERVER)
    route = next(span for span in mine if span.name == "route")
    clients = [span for span in mine if span.kind == Wire.SPAN_KIND_CLIENT]
    routers = [span for span in clients if "gen_ai.prompt.name" in values(span.attributes)]
    (attempt,) = (span for span in clients if span not in routers)
    router = routers[0]  # the first request has each new target's text judged as well
    assert len(mine) == 3 + len(routers)
    assert all(span.parent_span_id == route.span_id for span in routers)
    assert server.parent_span_id.hex() == PARENT
    assert route.parent_span_id == server.span_id
    assert router.parent_span_id == route.span_id
    assert attempt.parent_span_id == server.span_id
    assert values(route.attributes)["llmrouter.source"] == "llm"
    assert values(route.attributes)["llmrouter.target"] == target
    assert values(route.attributes)["llmrouter.cache.hit"] is False
    asked_of = values(router.attributes)
    assert router.name == f"chat {asked_of['gen_ai.request.model']}"
    assert asked_of["gen_ai.prompt.name"] == "router"
    assert asked_of["gen_ai.prompt.version"]
    done = values(attempt.attributes)
    assert attempt.name == f"chat {done['gen_ai.request.model']}"
    assert done["gen_ai.operation.name"] == "chat"
    assert done["gen_ai.response.model"] == done["gen_ai.request.model"]
    assert done["gen_ai.response.finish_reasons"] == ["stop"]
    assert done["gen_ai.usage.input_tokens"] > 0
    assert done["gen_ai.usage.output_tokens"] > 0
    assert done["server.address"] == "127.0.0.1"
    sent = [headers["traceparent"].split("-")[1:3] for headers in here.upstream_headers]
    assert [TRACE, router.span_id.hex()] in sent
    assert [TRACE, attempt.span_id.hex()] in sent
    assert all(SECRET.encode() not in body for body in bodies)
    assert all(b"zeppelin" not in body for body in bodies)


async def test_a_cached_decision_has_two_spans(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second `/route` of a prompt asks nobody: SERVER and route alone, with the hit noted."""
    second = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    async with receiver() as collector:
        async with running(collector, monkeypatch, tmp_path) as here:
            for headers in ({}, second):
                answered = await here.client.post(
                    "/route", json={"prompt": f"Analyse the {SECRET}."}, headers=headers
                )
                assert answered.status == 200
            metrics = await (await here.client.get("/metrics")).text()
        mine = {span.name: span for span in collector.spans if span.trace_id.hex() == TRACE}
    assert set(mine) == {"POST /route", "route"}
    assert values(mine["route"].attributes)["llmrouter.source"] == "cache"
    assert values(mine["route"].attributes)["llmrouter.cache.hit"] is True
    assert 'llmrouter_decisions_total{source="cache"} 1.0' in metrics
    assert 'llmrouter_cache_lookups_total{outcome="hit"} 1.0' in metrics
    assert SECRET not in metrics
    exported = {metric.name for metric in collector.metrics}
    assert {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"} <= exported
    assert {"http.server.request.duration", "llmrouter.router_spend_usd"} <= exported


async def test_a_failed_attempt_is_a_span_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where every attempt fails the client gets a 502, and each attempt's span says why."""
    async with receiver() as collector:
        async with running(collector, monkeypatch, tmp_path) as here:
            monkeypatch.setattr("llmrouter.simulator.app._fails", lambda *_: True)
            answered = await here.client.post(
                "/v1/chat/completions",
                json=asked(f"What is a {SECRET}?", model="claude-opus-5-5"),
                headers={"traceparent": f"00-{TRACE}-{PARENT}-01"},
            )
            assert answered.status == 502
        mine = [span for span in collector.spans if span.trace_id.hex() == TRACE]
        bodies = collector.raw
    attempts = [span for span in mine if span.kind == Wire.SPAN_KIND_CLIENT]
    assert attempts
    for span in attempts:
        assert values(span.attributes)["error.type"] == "500"
        assert span.status.code == 2
        assert span.status.message == ""
    (server,) = [span for span in mine if span.kind == Wire.SPAN_KIND_SERVER]
    assert values(server.attributes)["http.response.status_code"] == 502
    assert server.status.code == 2
    assert all(SECRET.encode() not in body for body in bodies)
