"""The observer: spans, metrics and stats of everything the service does, in one pass.

Export is off unless an OTLP endpoint is set; every `OTEL_*` variable means what the OpenTelemetry
SDK says. W3C trace context passes from caller to upstream either way. Prompt text never gets here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind

from llmrouter.domain import semconv
from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.completion import Attempt, Completion, Usage
from llmrouter.domain.decision import Decision, Feedback, ShadowComparison
from llmrouter.domain.interfaces import Attribute
from llmrouter.domain.target import Target
from llmrouter.telemetry.exporter_config import propagated, wanted
from llmrouter.telemetry.metric_definitions import declare
from llmrouter.telemetry.metrics import Buckets, Gauge, Labels, Metrics, Readings
from llmrouter.telemetry.spans import CURRENT, Span, Tracer, caller_of
from llmrouter.telemetry.stats import Stats
from llmrouter.util.threads import within

if TYPE_CHECKING:
    from llmrouter.telemetry.export import MetricExport

log = logging.getLogger(__name__)

CLOSE_LIMIT_S = 3.0
TIMINGS = 4096
Timing = tuple[str, str, object, object]  # method, route, status, error type
Counted = tuple[dict[Labels, float], Labels, Buckets]
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}


class Telemetry:
    """Implements Observer, and what the HTTP layer asks of it."""

    def __init__(self, *, fast: bool = True) -> None:
        """`fast`: spans leave by `fastpath.telemetry`, not by the SDK's batch processor."""
        self._fast = fast
        self.metrics = Metrics()
        self.stats = Stats()
        self._tenants: dict[str, Stats] = {}
        self.running = 0
        self.timings: dict[Timing, tuple[Buckets, Buckets]] = {}
        self._sources: dict[str, Counted] = {}
        self._tracer = Tracer()
        self._metric_export: MetricExport | None = None
        self._trace_context, self._baggage = propagated()
        declare(self.metrics)
        self.gauge("requests_in_flight", lambda: {(): float(self.running)})
        self.gauge("feedback_score", self._feedback_scores)

    def start(self) -> None:
        """Set up export where an endpoint is configured."""
        asked = wanted()
        if not (asked.traces or asked.metrics):
            return
        from llmrouter.telemetry import export, otlp  # megabytes, see `wanted`

        resource = export.resource()
        if asked.traces:
            self._tracer = export.tracer(resource, fast=self._fast)
        if asked.metrics:
            collector = otlp.Collector(self.metrics, resource, otlp.delta_preferred())
            self._metric_export = export.MetricExport(collector.collect)

    async def close(self, limit_s: float = CLOSE_LIMIT_S) -> None:
        """Send what is left, for `limit_s` seconds at most; what is not out by then is lost."""
        await asyncio.to_thread(self._flush, limit_s)

    def _flush(self, limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        batches = self._tracer.stop()
        if batches is not None and not within(limit_s, "otlp-flush", batches.shutdown):
            log.warning("the last spans could not be sent within %g s", limit_s)
        if self._metric_export is not None:
            self._metric_export.close(max(0.1, deadline - time.monotonic()))
            self._metric_export = None

    # Spans

    def request(self, method: str, route: str, headers: Mapping[str, str]) -> Span:
        """The SERVER span of one HTTP request, below the caller's span where it sent one."""
        span = _Request(self, method if method in METHODS else "_OTHER", route)
        if self._baggage and "baggage" in headers:
            span.baggage = headers["baggage"]
        if (
            self._trace_context
            and "traceparent" in headers
            and (caller := caller_of(headers)) is not None
        ):
            return span.below(caller)
        return span.under(None)

    def route(self) -> Span:
        """The `route` step."""
        return Span(self._tracer, "route", {}).under(CURRENT.get())

    def chat(
        self, model: str, provider: str, base_url: str, attributes: Mapping[str, Attribute]
    ) -> Span:
        """One call to a model, with what is known when it starts."""
        return _Chat(self, _Call.of(model, provider, base_url), attributes).under(CURRENT.get())

    def attempt(self, target: Target, attributes: Mapping[str, Attribute]) -> Span:
        """One attempt at a target: a call that is never the current step."""
        call = _Call.of(target.model, target.provider, target.base_url)
        return _Attempt(self, call, attributes).under(CURRENT.get())

    def current_headers(self) -> dict[str, str]:
        """W3C trace context of the step in progress, for a request made now."""
        span = CURRENT.get()
        return {} if span is None else span.headers()

    # Metrics

    def decided(self, decision: Decision) -> None:
        """A decision was made."""
        counted, labels, took = self._sources.get(decision.source) or self._source(decision.source)
        counted[labels] += 1
        took.add(decision.timing_ms / 1000.0)
        self.stats.decided(decision)
        if decision.tenant:
            self.stats_of(decision.tenant).decided_apart(decision)
        if decision.router_cost_usd:
            task = self.metrics.capped("task", decision.task)
            self.stats.routed(task, decision)
            if decision.tenant:
                self.stats_of(decision.tenant).routed(task, decision)

    def _source(self, source: str) -> Counted:
        """Where decisions of a source are counted and timed."""
        labels = (("source", str(source)),)
        self.metrics.add("decisions", 0, labels)
        timed = self.metrics.series(semconv.METRIC_DECISION_DURATION, labels)
        found = self._sources[source] = self.metrics.counters["decisions"], labels, timed
        return found

    def router_called(self, llm: RouterLLM, usage: Usage, cost_usd: float, outcome: str) -> None:
        """The router LLM was called."""
        self.metrics.add("router_calls", 1, (("outcome", outcome),))
        self.metrics.add("router_spend_usd", cost_usd)
        self._tokens(_Call.of(llm.model, llm.provider, llm.base_url), usage)
        self.stats.router_called(outcome, cost_usd)

    def attempted(self, target: Target, attempt: Attempt) -> None:
        """An attempt finished."""
        self.metrics.add("attempts", 1, (("outcome", attempt.outcome), ("target", target.id)))
        self._tokens(_Call.of(target.model, target.provider, target.base_url), attempt.usage)

    def completed(self, decision: Decision, completion: Completion, best_cost_usd: float) -> None:
        """An execution is out."""
        task = self.metrics.capped("task", decision.task)
        labels = (("target", completion.target), ("task", task))
        self.metrics.add("downstream_spend_usd", completion.cost_usd, labels)
        self.metrics.add("best_target_spend_usd", best_cost_usd)
        self.stats.completed(task, completion, best_cost_usd)
        if decision.tenant:
            self.stats_of(decision.tenant).completed(task, completion, best_cost_usd)

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Feedback arrived."""
        task = self.metrics.capped("task", decision.task)
        labels = (("target", decision.target), ("task", task))
        if feedback.earlier is None:
            self.metrics.add("feedback", 1, labels)
        change = feedback.score - (feedback.earlier or 0.0)
        side = "praise" if change >= 0 else "blame"
        self.metrics.add(f"feedback_{side}", abs(change), labels)
        self.stats.observe_feedback(task, decision, feedback)
        if decision.tenant:
            self.stats_of(decision.tenant).observe_feedback(task, decision, feedback)

    def spent(self, key: str, cost_usd: float) -> None:
        """A request of this key cost so much, its decision included."""
        self.metrics.add("key_spend_usd", cost_usd, (("key", key),))
        self.stats.by_key[key] += cost_usd

    def stats_of(self, tenant: str) -> Stats:
        """One tenant's figures; there are as many as there are keys."""
        found = self._tenants.get(tenant)
        if found is None:
            found = self._tenants[tenant] = Stats()
        return found

    def figures(self, tenant: str) -> dict[str, Any]:
        """What `/stats` shows: everyone's figures, or those of one tenant alone."""
        if not tenant:
            return self.stats.snapshot()
        own = self.stats_of(tenant).snapshot()
        return {**own, "spend_by_key_usd": {tenant: self.stats.by_key[tenant]}}

    def flat(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Every sum since the start, of everyone ("") and of each tenant."""
        out = {tenant: stats.flat() for tenant, stats in self._tenants.items()}
        for tenant, sums in out.items():
            sums["by_key", tenant] = self.stats.by_key[tenant]
        out[""] = self.stats.flat()
        return out

    def shadowed(self, one: ShadowComparison) -> None:
        """A strategy decided alongside."""
        strategy = ("strategy", one.strategy)
        self.metrics.add("shadow", 1, (("outcome", one.outcome), strategy))
        self.metrics.add("shadow_own_usd", one.own_usd, (strategy,))
        sides = (("live", one.live_usd, one.live_quality), ("shadow", one.usd, one.quality))
        for side, usd, _ in sides if one.usd is not None else ():
            self.metrics.add("shadow_choice_usd", usd or 0.0, (("choice", side), strategy))
        if one.quality is not None and one.live_quality is not None:
            self.metrics.add("shadow_estimated", 1, (strategy,))
            for side, _, quality in sides:
                self.metrics.add("shadow_quality", quality or 0.0, (("choice", side), strategy))
        self.stats.shadows[one.strategy].add(one)
        if one.tenant:
            self.stats_of(one.tenant).shadows[one.strategy].add(one)

    def cache(self, outcome: str) -> None:
        """A lookup in the decision cache."""
        self.metrics.add("cache_lookups", 1, _outcome(outcome))
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
        """A value that is read when somebody looks, from whichever thread looks."""
        self.metrics.gauges[name] = read

    def metrics_text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return self.metrics.prometheus()

    def timing(self, key: Timing) -> tuple[Buckets, Buckets]:
        """Where requests of a method, route, status and error type are timed: whole, and own."""
        method, route, status, failed = (str(part or "") for part in key)
        every = (
            (semconv.HTTP_METHOD, method),
            (semconv.HTTP_ROUTE, route),
            (semconv.HTTP_STATUS_CODE, status),
            (semconv.ERROR_TYPE, self.metrics.capped("error", failed) if failed else ""),
            (semconv.URL_SCHEME, "http"),
        )
        labels = tuple((name, value) for name, value in every if value)
        found = (
            self.metrics.series(semconv.METRIC_SERVER_DURATION, labels),
            self.metrics.series(semconv.METRIC_OVERHEAD_DURATION, ((semconv.HTTP_ROUTE, route),)),
        )
        if len(self.timings) < TIMINGS:
            self.timings[key] = found
        return found

    def _tokens(self, call: _Call, usage: Usage) -> None:
        if usage.input_tokens:
            self.metrics.record(semconv.METRIC_TOKEN_USAGE, usage.input_tokens, call.read)
        if usage.output_tokens:
            self.metrics.record(semconv.METRIC_TOKEN_USAGE, usage.output_tokens, call.written)

    def _feedback_scores(self) -> Readings:
        return {
            (("target", target), ("task", task)): tally.score / tally.ratings
            for (task, target), tally in list(self.stats.tallies.items())
            if tally.ratings
        }


class _Call:
    """A model at a server, with everything that follows from the two."""

    __slots__ = ("attributes", "labels", "name", "read", "written")

    def __init__(self, model: str, provider: str, base_url: str) -> None:
        address, port = server(base_url)
        self.name = f"chat {model}"
        self.attributes: dict[str, Attribute] = {
            semconv.GEN_AI_OPERATION_NAME: "chat",
            semconv.GEN_AI_PROVIDER_NAME: provider,
            semconv.GEN_AI_REQUEST_MODEL: model,
            semconv.SERVER_ADDRESS: address,
            semconv.SERVER_PORT: port,
        }
        self.labels: Labels = tuple((key, str(value)) for key, value in self.attributes.items())
        self.read: Labels = (*self.labels, (semconv.GEN_AI_TOKEN_TYPE, "input"))
        self.written: Labels = (*self.labels, (semconv.GEN_AI_TOKEN_TYPE, "output"))

    @staticmethod
    @lru_cache(maxsize=512)
    def of(model: str, provider: str, base_url: str) -> _Call:
        """The one for these three; catalogs hold few."""
        return _Call(model, provider, base_url)


class _Chat(Span):
    """A CLIENT span that also times the call, and what the request spent waiting for it."""

    __slots__ = ("_call", "_metrics")
    kind = SpanKind.CLIENT

    def __init__(
        self, telemetry: Telemetry, call: _Call, attributes: Mapping[str, Attribute]
    ) -> None:
        super().__init__(telemetry._tracer, call.name, {**call.attributes, **attributes})
        self._call = call
        self._metrics = telemetry.metrics

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the span and record its duration."""
        super().__exit__(kind, error, trace)
        metrics, labels, attributes = self._metrics, self._call.labels, self.attributes
        lasted = self.ended - self.started
        if self.root is not None:
            self.root.waited_ns += lasted
        if semconv.ERROR_TYPE in attributes:
            known = metrics.capped("error", str(attributes[semconv.ERROR_TYPE]))
            labels = (*labels, (semconv.ERROR_TYPE, known))
        metrics.record(semconv.METRIC_OPERATION_DURATION, lasted / 1e9, labels)
        first_s = attributes.get(semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK)
        if isinstance(first_s, float):
            metrics.record(semconv.METRIC_TIME_TO_FIRST_CHUNK, first_s, self._call.labels)


class _Attempt(_Chat):
    """A CLIENT span beside which others may run: nothing is placed below it by itself."""

    __slots__ = ()
    current = False


class _Request(Span):
    """A SERVER span that also times the request, and what of it the service itself took."""

    __slots__ = ("_method", "_route", "_telemetry")
    kind = SpanKind.SERVER

    def __init__(self, telemetry: Telemetry, method: str, route: str) -> None:
        attributes: dict[str, Attribute] = {
            semconv.HTTP_METHOD: method,
            semconv.HTTP_ROUTE: route,
            semconv.URL_SCHEME: "http",
        }
        super().__init__(telemetry._tracer, _server_name(method, route), attributes)
        self._method = method
        self._route = route
        self._telemetry = telemetry

    def __enter__(self) -> Span:
        """Start the span."""
        self._telemetry.running += 1
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the span and record its duration."""
        attributes, telemetry = self.attributes, self._telemetry
        status = attributes.get(semconv.HTTP_STATUS_CODE, 0)
        if isinstance(status, int) and status >= 500 and not self.failed:
            self.fail(str(status))
        super().__exit__(kind, error, trace)
        telemetry.running -= 1
        failed = attributes[semconv.ERROR_TYPE] if self.failed else ""
        key = (self._method, self._route, status, failed)
        total, own = telemetry.timings.get(key) or telemetry.timing(key)
        lasted = self.ended - self.started
        total.add(lasted / 1e9)
        own.add(max(0, lasted - self.waited_ns) / 1e9)


@lru_cache(maxsize=512)
def server(base_url: str) -> tuple[str, int]:
    """Host and port of a base URL; an URL without a readable port has its scheme's."""
    parts = urlsplit(base_url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.hostname or "", port or (443 if parts.scheme == "https" else 80)


@lru_cache(maxsize=64)
def _outcome(outcome: str) -> Labels:
    return (("outcome", outcome),)


@lru_cache(maxsize=512)
def _server_name(method: str, route: str) -> str:
    return f"{'HTTP' if method == '_OTHER' else method} {route}"
