"""The observer: spans, metrics and stats of everything the service does.

Export is off unless an OTLP endpoint is set; every `OTEL_*` variable means what the OpenTelemetry
SDK says. W3C trace context passes from caller to upstream either way. Prompt text never gets here.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import TracebackType
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from llmrouter.domain import semconv
from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.decision import Decision, Feedback
from llmrouter.domain.ports import Attribute
from llmrouter.domain.reply import Attempt, Completion, Usage
from llmrouter.domain.target import Target
from llmrouter.telemetry.metrics import Labels, Metrics
from llmrouter.telemetry.spans import CURRENT, Span, Tracer, remote_context
from llmrouter.telemetry.stats import Stats

log = logging.getLogger(__name__)

CLOSE_LIMIT_S = 3.0
Gauge = Callable[[], Mapping[Labels, float]]


class Telemetry:
    """Implements Observer, and what the HTTP layer asks of it."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.stats = Stats()
        self._tracer = Tracer()
        self._gauges: dict[str, Gauge] = {}
        self._resource = Resource.get_empty()
        self._exporter: OTLPMetricExporter | None = None
        self._exporting: asyncio.Task[None] | None = None
        for name, unit, boundaries in (
            (semconv.METRIC_OPERATION_DURATION, "s", semconv.SECONDS_BOUNDARIES),
            (semconv.METRIC_TOKEN_USAGE, "{token}", semconv.TOKEN_BOUNDARIES),
            (semconv.METRIC_SERVER_DURATION, "s", semconv.HTTP_BOUNDARIES),
            (semconv.METRIC_DECISION_DURATION, "s", semconv.OVERHEAD_BOUNDARIES),
        ):
            self.metrics.histogram(name, unit, boundaries)

    def start(self) -> None:
        """Set up export where an endpoint is configured; needs a running loop for metrics."""
        if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return
        everything = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        traces = everything or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        metrics = everything or os.environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
        if traces or metrics:
            named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "llmrouter"}
            self._resource = Resource.create(named)
        if traces and os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "none":
            self._tracer = Tracer(BatchSpanProcessor(OTLPSpanExporter()), sampler(), self._resource)
        if metrics and os.environ.get("OTEL_METRICS_EXPORTER", "otlp") != "none":
            self._exporter = OTLPMetricExporter()
            self._exporting = asyncio.get_running_loop().create_task(self._export_metrics())

    async def close(self) -> None:
        """Send what is left, within a bound."""
        if self._exporting is not None:
            self._exporting.cancel()
            await asyncio.gather(self._exporting, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await asyncio.to_thread(self._flush)
        except TimeoutError:
            log.warning("telemetry not flushed within %s s", CLOSE_LIMIT_S)

    def _flush(self) -> None:
        if self._exporter is not None:
            self._exporter.export(self.metrics.otlp(self._resource))
            self._exporter.shutdown()
        if self._tracer.processor is not None:
            self._tracer.processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK's own

    async def _export_metrics(self) -> None:
        every_s = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "60000")) / 1000.0
        while self._exporter is not None:
            await asyncio.sleep(every_s)
            await asyncio.to_thread(self._exporter.export, self.metrics.otlp(self._resource))

    # Spans

    def request(self, method: str, route: str, headers: Mapping[str, str]) -> Span:
        """The SERVER span of one HTTP request, below the caller's span where it sent one."""
        span = _Request(
            self,
            f"{method} {route}",
            {semconv.HTTP_METHOD: method, semconv.HTTP_ROUTE: route, semconv.URL_SCHEME: "http"},
        )
        if "traceparent" in headers and (remote := remote_context(headers)) is not None:
            return span.below_remote(remote, headers.get("baggage", ""))
        return span.under(None)

    def route(self) -> Span:
        """The `route` step."""
        return Span(self._tracer, "route", SpanKind.INTERNAL, {}).under(CURRENT.get())

    def chat(
        self, model: str, provider: str, base_url: str, attributes: Mapping[str, Attribute]
    ) -> Span:
        """One call to a model, with what is known when it starts."""
        address, port = server(base_url)
        known: dict[str, Attribute] = {
            semconv.GEN_AI_OPERATION_NAME: "chat",
            semconv.GEN_AI_PROVIDER_NAME: provider,
            semconv.GEN_AI_REQUEST_MODEL: model,
            semconv.SERVER_ADDRESS: address,
            semconv.SERVER_PORT: port,
            **attributes,
        }
        return Span(self._tracer, f"chat {model}", SpanKind.CLIENT, known).under(CURRENT.get())

    def current_headers(self) -> dict[str, str]:
        """W3C trace context of the step in progress, for a request made now."""
        span = CURRENT.get()
        return {} if span is None else span.headers()

    # Metrics

    def decided(self, decision: Decision) -> None:
        """A decision was made."""
        self.metrics.add("decisions", 1, (("source", decision.source.value),))
        self.metrics.record(semconv.METRIC_DECISION_DURATION, decision.timing_ms / 1000.0)
        self.stats.decided(decision)

    def router_called(self, llm: RouterLLM, usage: Usage, cost_usd: float, outcome: str) -> None:
        """The router LLM was called."""
        self.metrics.add("router_calls", 1, (("outcome", outcome),))
        self.metrics.add("router_spend_usd", cost_usd)
        self._tokens(llm.model, llm.provider, usage)
        self.stats.router[outcome] += 1
        self.stats.router_usd += cost_usd

    def attempted(self, target: Target, attempt: Attempt) -> None:
        """An attempt finished."""
        outcome = (("outcome", attempt.outcome), ("target", target.id))
        self.metrics.add("attempts", 1, outcome)
        labels = _model_labels(target.model, target.provider)
        if attempt.outcome == "failed":
            labels = (*labels, (semconv.ERROR_TYPE, attempt.reason.partition(":")[0][:40]))
        self.metrics.record(semconv.METRIC_OPERATION_DURATION, attempt.latency_ms / 1000.0, labels)
        self._tokens(target.model, target.provider, attempt.usage)

    def completed(self, decision: Decision, completion: Completion, best_cost_usd: float) -> None:
        """An execution is out."""
        task = self.metrics.capped("task", decision.task)
        labels = (("target", completion.target), ("task", task))
        self.metrics.add("downstream_spend_usd", completion.cost_usd, labels)
        self.metrics.add("best_target_spend_usd", best_cost_usd)
        self.stats.completed(task, completion, best_cost_usd)

    def rated(self, decision: Decision, feedback: Feedback) -> None:
        """Feedback arrived."""
        task = self.metrics.capped("task", decision.task)
        labels = (("target", decision.target), ("task", task))
        self.metrics.add("feedback", 1, labels)
        side = "praise" if feedback.score >= 0 else "blame"
        self.metrics.add(f"feedback_{side}", abs(feedback.score), labels)
        self.stats.rated(task, decision, feedback)

    def cache(self, outcome: str) -> None:
        """A lookup in the decision cache."""
        self.metrics.add("cache_lookups", 1, (("outcome", outcome),))
        self.stats.cache[outcome] += 1

    def count(self, name: str, value: float, attributes: Mapping[str, str]) -> None:
        """Any other counter."""
        plain = name.removeprefix("llmrouter.").replace(".", "_")
        labels = tuple(
            sorted((key, self.metrics.capped(f"{plain}.{key}", text))
                   for key, text in attributes.items())
        )  # fmt: skip
        self.metrics.add(plain, value, labels)

    def gauge(self, name: str, read: Gauge) -> None:
        """A value that is read when somebody looks."""
        self._gauges[name] = read

    def metrics_text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return self.metrics.prometheus({name: read() for name, read in self._gauges.items()})

    def _tokens(self, model: str, provider: str, usage: Usage) -> None:
        labels = _model_labels(model, provider)
        for kind, tokens in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            if tokens:
                kinds = (*labels, (semconv.GEN_AI_TOKEN_TYPE, kind))
                self.metrics.record(semconv.METRIC_TOKEN_USAGE, tokens, kinds)


class _Request(Span):
    """A SERVER span that also times the request."""

    __slots__ = ("_telemetry",)

    def __init__(self, telemetry: Telemetry, name: str, attributes: dict[str, Attribute]) -> None:
        super().__init__(telemetry._tracer, name, SpanKind.SERVER, attributes)
        self._telemetry = telemetry

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the span and record its duration."""
        super().__exit__(kind, error, trace)
        attributes = self.attributes
        labels = (
            (semconv.HTTP_ROUTE, str(attributes[semconv.HTTP_ROUTE])),
            (semconv.HTTP_STATUS_CODE, str(attributes.get(semconv.HTTP_STATUS_CODE, 0))),
        )
        seconds = (self._ended - self._started) / 1e9
        self._telemetry.metrics.record(semconv.METRIC_SERVER_DURATION, seconds, labels)


@lru_cache(maxsize=512)
def server(base_url: str) -> tuple[str, int]:
    """Host and port of a base URL."""
    parts = urlsplit(base_url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


@lru_cache(maxsize=512)
def _model_labels(model: str, provider: str) -> Labels:
    return (
        (semconv.GEN_AI_OPERATION_NAME, "chat"),
        (semconv.GEN_AI_PROVIDER_NAME, provider),
        (semconv.GEN_AI_REQUEST_MODEL, model),
    )


def sampler() -> sampling.Sampler:
    """The sampler that `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` name."""
    name = os.environ.get("OTEL_TRACES_SAMPLER", "parentbased_always_on").lower()
    try:
        ratio = float(os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1.0"))
    except ValueError:
        ratio = 1.0
    roots: dict[str, sampling.Sampler] = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "traceidratio": sampling.TraceIdRatioBased(min(1.0, max(0.0, ratio))),
    }
    plain = name.removeprefix("parentbased_")
    if plain not in roots:
        log.warning("OTEL_TRACES_SAMPLER=%s is not known, every trace is kept", name)
        return sampling.DEFAULT_ON
    root = roots[plain]
    return sampling.ParentBased(root) if name.startswith("parentbased_") else root
