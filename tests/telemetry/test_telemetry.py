"""The observer, against a real OTLP receiver on a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire
from prometheus_client.parser import text_string_to_metric_families

from llmrouter.domain import semconv
from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.completion import Attempt, Completion, Usage
from llmrouter.domain.decision import Feedback, ShadowComparison, Source
from llmrouter.telemetry.call_spans import server
from llmrouter.telemetry.spans import CURRENT
from llmrouter.telemetry.telemetry import Telemetry
from tests.fakes import a_decision, a_target
from tests.telemetry.receiver import receiver, silent_server, values

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {
    "traceparent": f"00-{TRACE}-{PARENT}-01",
    "tracestate": "vendor=abc,other=1",
    "baggage": "tenant=acme",
}
SECRET = "the quick brown prompt"


@pytest.fixture(params=[True, False], ids=["fastpath", "sdk"])
def fast(request: pytest.FixtureRequest) -> bool:
    """By which way spans leave: what arrives is the same."""
    return bool(request.param)


def one_request(telemetry: Telemetry, headers: Mapping[str, str]) -> dict[str, str]:
    """A routed request with its router call and a failed downstream attempt; the headers sent."""
    with telemetry.request("POST", "/v1/chat/completions", headers) as span:
        with telemetry.route() as route:
            with telemetry.chat(
                "tiny", "openai", "https://router.test/v1", {semconv.GEN_AI_PROMPT_NAME: "router"}
            ) as chat:
                chat.set(semconv.GEN_AI_USAGE_INPUT_TOKENS, 120)
            route.set(semconv.SOURCE, "llm")
            route.set(semconv.TARGET, "small")
            route.set(semconv.CONFIDENCE, 0.75)
            route.set(semconv.CACHE_HIT, False)
        big = a_target("big", model="big", provider="anthropic", base_url="http://10.0.0.7:8000/v1")
        with telemetry.attempt(big, {}) as attempt:
            sent = attempt.headers()
            attempt.set(semconv.GEN_AI_RESPONSE_FINISH_REASONS, ("stop",))
            attempt.event(
                semconv.ESCALATION_EVENT,
                {semconv.ESCALATION_SIGNAL: "judge", semconv.ESCALATION_REASON: f"on {SECRET}"},
            )
            attempt.fail("429", f"refused: {SECRET}")
        span.set(semconv.HTTP_STATUS_CODE, 200)
    return sent


async def test_a_request_arrives_as_one_trace(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """SERVER, route and both CLIENT spans arrive linked, with kinds, attributes and the event."""
    async with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "router-7")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        telemetry = Telemetry(fast=fast)
        telemetry.start()
        one_request(telemetry, {})
        await telemetry.close()
    server_span = collector.span("POST /v1/chat/completions")
    route = collector.span("route")
    router, attempt = collector.span("chat tiny"), collector.span("chat big")
    assert len({span.trace_id for span in collector.spans}) == 1
    assert server_span.parent_span_id == b""
    assert route.parent_span_id == server_span.span_id
    assert router.parent_span_id == route.span_id
    assert attempt.parent_span_id == server_span.span_id
    assert server_span.kind == Wire.SPAN_KIND_SERVER
    assert route.kind == Wire.SPAN_KIND_INTERNAL
    assert router.kind == attempt.kind == Wire.SPAN_KIND_CLIENT
    assert values(server_span.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "url.scheme": "http",
    }
    assert values(route.attributes) == {
        "llmrouter.source": "llm",
        "llmrouter.target": "small",
        "llmrouter.confidence": 0.75,
        "llmrouter.cache.hit": False,
    }
    assert values(router.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "tiny",
        "gen_ai.prompt.name": "router",
        "gen_ai.usage.input_tokens": 120,
        "server.address": "router.test",
        "server.port": 443,
    }
    assert values(attempt.attributes)["gen_ai.response.finish_reasons"] == ["stop"]
    assert values(attempt.attributes)["error.type"] == "429"
    assert attempt.status.code == 2
    (event,) = attempt.events
    assert event.name == "llmrouter.escalation"
    assert values(event.attributes) == {"llmrouter.escalation.signal": "judge"}
    assert server_span.start_time_unix_nano <= route.start_time_unix_nano
    assert route.end_time_unix_nano <= server_span.end_time_unix_nano
    about = collector.resources[0]
    assert about["service.name"] == "router-7"
    assert about["deployment.environment.name"] == "test"
    assert about["service.instance.id"]


def test_an_attempt_is_never_the_current_step() -> None:
    """Attempts run side by side, so what starts beside one is not placed below it."""
    telemetry = Telemetry()
    with telemetry.request("POST", "/complete", {}) as span:
        with telemetry.attempt(a_target(), {}), telemetry.attempt(a_target("other"), {}):
            assert CURRENT.get() is span
        with telemetry.chat("judge", "openai", "http://judge.test/v1", {}) as judge:
            assert CURRENT.get() is judge


async def test_no_prompt_text_leaves(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure whose message quotes the prompt leaves its type alone in spans and metrics."""
    async with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        telemetry = Telemetry(fast=fast)
        telemetry.start()
        one_request(telemetry, {})
        with pytest.raises(ValueError, match="quick"), telemetry.route():
            raise ValueError(SECRET)
        await telemetry.close()
    assert len(collector.raw) >= 2
    assert all(SECRET.encode() not in body for body in collector.raw)
    assert SECRET.encode() not in telemetry.metrics_text()


async def test_the_callers_trace_goes_on(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's span is the parent; the target gets the attempt's span, state and baggage."""
    async with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.endpoint}/v1/traces")
        telemetry = Telemetry(fast=fast)
        telemetry.start()
        sent = one_request(telemetry, CALLER)
        await telemetry.close()
    server_span, attempt = collector.span("POST /v1/chat/completions"), collector.span("chat big")
    assert server_span.trace_id.hex() == TRACE
    assert server_span.parent_span_id.hex() == PARENT
    assert server_span.flags & 0x300 == 0x300
    assert server_span.trace_state == CALLER["tracestate"]
    assert sent == {**CALLER, "traceparent": f"00-{TRACE}-{attempt.span_id.hex()}-01"}
    assert not collector.metrics


async def test_without_an_endpoint_the_callers_context_passes_through(fast: bool) -> None:
    """Nothing is exported, and the target sees the caller's own context, baggage included."""
    telemetry = Telemetry(fast=fast)
    telemetry.start()
    assert one_request(telemetry, CALLER) == CALLER
    assert one_request(telemetry, {}) == {}
    assert one_request(telemetry, {"baggage": "a=b"}) == {"baggage": "a=b"}
    await telemetry.close()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ],
)
async def test_variables_that_switch_traces_off(
    fast: bool, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """OTEL_SDK_DISABLED, an always_off sampler and a `none` exporter send no span."""
    async with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv(variable, value)
        telemetry = Telemetry(fast=fast)
        telemetry.start()
        one_request(telemetry, {})
        await telemetry.close()
    assert not collector.spans


async def test_a_parent_that_is_not_sampled_decides(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller who did not sample gets no spans, and the target is told not to sample either."""
    async with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        telemetry = Telemetry(fast=fast)
        telemetry.start()
        sent = one_request(telemetry, {"traceparent": f"00-{TRACE}-{PARENT}-00"})
        await telemetry.close()
    assert not collector.spans
    assert sent["traceparent"].startswith(f"00-{TRACE}-")
    assert sent["traceparent"].endswith("-00")


async def test_a_share_of_traces_is_kept_whole(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ratio sampler keeps some traces and drops others, and never half of one."""
    async with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
        telemetry = Telemetry(fast=fast)
        telemetry.start()
        for _ in range(200):
            one_request(telemetry, {})
        await telemetry.close()
    traces = {span.trace_id for span in collector.spans}
    assert 40 < len(traces) < 160
    assert len(collector.spans) == 4 * len(traces)


async def test_headers_and_gzip_as_configured(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_EXPORTER_OTLP_HEADERS and _COMPRESSION reach the collector."""
    async with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=seven")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        telemetry = Telemetry(fast=fast)
        telemetry.start()
        one_request(telemetry, {})
        await telemetry.close()
    sent = {key.lower(): value for key, value in collector.headers[0].items()}
    assert sent["x-tenant"] == "seven"
    assert sent["content-encoding"] == "gzip"
    assert len(collector.spans) == 4


async def test_metrics_arrive_with_the_recommended_buckets(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GenAI histograms arrive with their published boundaries, the service's own from 10 µs."""
    async with receiver() as collector:
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{collector.endpoint}/v1/metrics"
        )
        telemetry = Telemetry(fast=fast)
        telemetry.start()
        one_request(telemetry, {})
        target = a_target("small")
        usage = Usage(input_tokens=300, output_tokens=20)
        telemetry.attempted(target, Attempt("small", "ok", "", 12.0, 0.25, usage))
        telemetry.decided(a_decision("small", source=Source.CACHE, timing_ms=0.015))
        await telemetry.close()
    duration = collector.metric("gen_ai.client.operation.duration").histogram
    assert list(duration.data_points[0].explicit_bounds) == [0.01 * 2**n for n in range(14)]
    by_model = {values(p.attributes)["gen_ai.request.model"]: p for p in duration.data_points}
    assert by_model["tiny"].count == 1
    assert values(by_model["big"].attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "big",
        "server.address": "10.0.0.7",
        "server.port": 8000,
        "error.type": "429",
    }
    (served,) = collector.metric("http.server.request.duration").histogram.data_points
    assert values(served.attributes)["http.response.status_code"] == 200
    tokens = collector.metric("gen_ai.client.token.usage").histogram
    assert list(tokens.data_points[0].explicit_bounds) == [4**n for n in range(14)]
    assert {values(p.attributes)["gen_ai.token.type"]: p.sum for p in tokens.data_points} == {
        "input": 300,
        "output": 20,
    }
    (decided,) = collector.metric("llmrouter.decision.duration").histogram.data_points
    assert decided.explicit_bounds[0] == 1e-5
    assert decided.bucket_counts[1] == 1  # 15 µs: above 10, at most 20
    (decisions,) = collector.metric("llmrouter.decisions").sum.data_points
    assert (values(decisions.attributes), decisions.as_double) == ({"source": "cache"}, 1.0)
    assert collector.metric("llmrouter.decisions").sum.is_monotonic
    assert not collector.spans


async def test_delta_temporality_sends_what_is_new(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a delta preference each export holds only what came since the one before."""
    async with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
        telemetry = Telemetry(fast=fast)
        telemetry.start()
        telemetry.decided(a_decision(source=Source.LLM))
        async with asyncio.timeout(60):
            await collector.arrived.wait()
        telemetry.decided(a_decision(source=Source.LLM))
        telemetry.decided(a_decision(source=Source.LLM))
        await telemetry.close()
    sums = [m for m in collector.metrics if m.name == "llmrouter.decisions"]
    assert all(m.sum.aggregation_temporality == 1 for m in sums)
    assert sum(point.as_double for m in sums for point in m.sum.data_points) == 3.0
    timings = [m for m in collector.metrics if m.name == "llmrouter.decision.duration"]
    assert sum(point.count for m in timings for point in m.histogram.data_points) == 3


async def test_a_silent_collector_holds_nothing_up(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing ends within its bound though the collector never answers, and requests go on."""
    async with silent_server() as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        telemetry = Telemetry(fast=fast)
        telemetry.start()
        one_request(telemetry, {})
        async with asyncio.timeout(20):
            await telemetry.close(limit_s=0.2)
        one_request(telemetry, CALLER)


def parsed(telemetry: Telemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The Prometheus text as Prometheus' own parser reads it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(telemetry.metrics_text().decode())
        for sample in family.samples
    }


def test_prometheus_reads_every_figure_of_the_contract() -> None:
    """Decisions, lookups, spend, savings, escalations, audits and feedback, read by its parser."""
    telemetry = Telemetry()
    decision = a_decision("small", task="code", timing_ms=0.02)
    attempts = (
        Attempt("tiny", "rejected", "low confidence", 5.0, 0.001),
        Attempt("small", "ok", "", 9.0, 0.004),
    )
    telemetry.decided(decision)
    telemetry.cache("hit")
    telemetry.router_called(RouterLLM("tiny", "http://r/v1"), Usage(10, 5), 0.5, "timeout")
    for attempt in attempts:
        telemetry.attempted(a_target(attempt.target), attempt)
    telemetry.completed(decision, Completion("small", attempts, 0.005, 14.0), 0.02)
    telemetry.observe_feedback(decision, Feedback("d-1", 1.0))
    telemetry.observe_feedback(decision, Feedback("d-1", -0.5))
    telemetry.count("escalations", 1, {"target": "tiny", "signal": "confidence"})
    telemetry.count("audits", 1, {"task": "code", "outcome": "agreed"})
    telemetry.count("llmrouter.limits.store_errors", 2, {})
    telemetry.gauge("breaker_state", lambda: {(("state", "open"), ("target", "tiny")): 1.0})
    found = parsed(telemetry)
    here = (("target", "small"), ("task", "code"))
    assert found["llmrouter_decisions_total", (("source", "rules"),)] == 1
    assert found["llmrouter_cache_lookups_total", (("outcome", "hit"),)] == 1
    assert found["llmrouter_router_calls_total", (("outcome", "timeout"),)] == 1
    assert found["llmrouter_router_spend_usd_total", ()] == 0.5
    assert found["llmrouter_downstream_spend_usd_total", here] == 0.005
    assert found["llmrouter_best_target_spend_usd_total", ()] == 0.02
    assert found["llmrouter_attempts_total", (("outcome", "rejected"), ("target", "tiny"))] == 1
    assert found["llmrouter_escalations_total", (("signal", "confidence"), ("target", "tiny"))] == 1
    assert found["llmrouter_audits_total", (("outcome", "agreed"), ("task", "code"))] == 1
    assert found["llmrouter_feedback_score", here] == 0.25
    assert found["llmrouter_feedback_total", here] == 2
    assert found["llmrouter_limits_store_errors_total", ()] == 2
    assert found["llmrouter_breaker_state", (("state", "open"), ("target", "tiny"))] == 1
    assert found["llmrouter_requests_in_flight", ()] == 0
    assert (
        found["llmrouter_decision_duration_seconds_bucket", (("le", "2e-05"), ("source", "rules"))]
        == 1
    )


def test_requests_are_timed_by_route_and_status() -> None:
    """A server error carries its type, an invented method is `_OTHER`, running ones are counted."""
    telemetry = Telemetry()
    with telemetry.request("POST", "/route", {}) as span:
        assert parsed(telemetry)["llmrouter_requests_in_flight", ()] == 1
        span.set(semconv.HTTP_STATUS_CODE, 502)
    with telemetry.request("BREW", "unmatched", {}) as span:
        span.set(semconv.HTTP_STATUS_CODE, 405)
    with pytest.raises(ValueError, match="x"), telemetry.request("GET", "/stats", {}):
        raise ValueError("x")
    counts = {
        tuple(v for _, v in labels): value
        for (name, labels), value in parsed(telemetry).items()
        if name == "http_server_request_duration_seconds_count"
    }
    assert counts == {
        ("502", "POST", "502", "/route", "http"): 1,
        ("_OTHER", "405", "unmatched", "http"): 1,
        ("ValueError", "GET", "/stats", "http"): 1,
    }
    assert parsed(telemetry)["llmrouter_requests_in_flight", ()] == 0


def test_overhead_leaves_out_the_wait_for_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time inside chat steps is not the service's own: 100 ns of 700 were."""
    telemetry = Telemetry()
    ticks = iter([1000, 1000, 1050, 1650, 1700])
    monkeypatch.setattr("llmrouter.telemetry.spans.time.perf_counter_ns", lambda: next(ticks))
    with telemetry.request("POST", "/complete", {}), telemetry.chat("m", "p", "http://h/v1", {}):
        pass
    monkeypatch.undo()
    found = parsed(telemetry)
    total = found["http_server_request_duration_seconds_sum", _request_labels()]
    own = found["llmrouter_overhead_duration_seconds_sum", (("http_route", "/complete"),)]
    assert (total, own) == (pytest.approx(700e-9), pytest.approx(100e-9))


def test_a_clock_that_is_set_back_shortens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour back in the middle of a request leaves its duration positive."""
    telemetry = Telemetry()
    with telemetry.request("POST", "/complete", {}):
        monkeypatch.setattr("llmrouter.telemetry.spans.time.time_ns", lambda: 1)
        with telemetry.chat("m", "p", "http://h/v1", {}):
            pass
    monkeypatch.undo()
    found = parsed(telemetry)
    assert found["http_server_request_duration_seconds_sum", _request_labels()] > 0
    assert all(value >= 0 for value in found.values())


def _request_labels() -> tuple[tuple[str, str], ...]:
    return (
        ("http_request_method", "POST"),
        ("http_route", "/complete"),
        ("url_scheme", "http"),
    )


async def test_spans_of_concurrent_requests_stay_apart() -> None:
    """Each task sees its own request's context, and a child task its parent's."""
    telemetry = Telemetry()

    async def sent(number: int) -> dict[str, str]:
        caller = {"traceparent": f"00-{number:032x}-{PARENT}-01"}
        with telemetry.request("POST", "/complete", caller):
            await asyncio.sleep(0)

            async def child() -> dict[str, str]:
                with telemetry.chat("m", "p", "http://h/v1", {}) as span:
                    await asyncio.sleep(0)
                    return span.headers()

            return await asyncio.get_running_loop().create_task(child())

    found = await asyncio.gather(*(sent(n) for n in range(1, 40)))
    assert [headers["traceparent"] for headers in found] == [
        f"00-{n:032x}-{PARENT}-01" for n in range(1, 40)
    ]
    assert telemetry.current_headers() == {}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.test/v1", ("api.test", 443)),
        ("http://localhost:11434/v1", ("localhost", 11434)),
        ("http://[::1]:8000/v1", ("::1", 8000)),
        ("http://host:99999/v1", ("host", 80)),
    ],
)
def test_the_server_of_a_base_url(url: str, expected: tuple[str, int]) -> None:
    """Host and port, with the scheme's port where none can be read."""
    assert server(url) == expected


def test_a_shadow_is_counted_with_what_it_would_have_cost() -> None:
    """Both choices beside each other; a tenant has its own figures of it."""
    telemetry = Telemetry()
    one = ShadowComparison(
        "rules", "disagreed", "acme", "code", "a", 0.25, 0.5, "b", 0.75, 0.625, 0.125
    )
    telemetry.shadowed(one)
    telemetry.shadowed(ShadowComparison("rules", "failed", "", "code", "a", 0.25))
    text = telemetry.metrics_text().decode()
    for line in (
        'llmrouter_shadow_total{outcome="disagreed",strategy="rules"} 1.0',
        'llmrouter_shadow_total{outcome="failed",strategy="rules"} 1.0',
        'llmrouter_shadow_choice_usd_total{choice="live",strategy="rules"} 0.25',
        'llmrouter_shadow_choice_usd_total{choice="shadow",strategy="rules"} 0.75',
        'llmrouter_shadow_quality_total{choice="live",strategy="rules"} 0.5',
        'llmrouter_shadow_quality_total{choice="shadow",strategy="rules"} 0.625',
        'llmrouter_shadow_estimated_total{strategy="rules"} 1.0',
        'llmrouter_shadow_own_usd_total{strategy="rules"} 0.125',
    ):
        assert line in text
    assert telemetry.figures("")["shadow"]["rules"]["requests"] == 2
    assert telemetry.figures("acme")["shadow"]["rules"]["requests"] == 1
