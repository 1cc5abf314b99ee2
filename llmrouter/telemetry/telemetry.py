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
from typing import TYPE_CHECKING, Any

from llmrouter.domain import semconv
from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.completion import Attempt, Completion, Usage
from llmrouter.domain.decision import Decision, Feedback, ShadowComparison
from llmrouter.domain.interfaces import Attribute
from llmrouter.domain.target import Target
from llmrouter.telemetry.call_spans import AttemptSpan, Call, ChatSpan, RequestSpan, RequestTimes
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
        self.requests = RequestTimes(self.metrics)
        self._sources: dict[str, Counted] = {}
        self._tracer = Tracer()
        self._metric_export: MetricExport | None = None
        self._trace_context, self._baggage = propagated()
        declare(self.metrics)
        self.gauge("requests_in_flight", lambda: {(): float(self.requests.running)})
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
        span = RequestSpan(
            self._tracer, self.requests, method if method in METHODS else "_OTHER", route
        )
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
        call = Call.of(model, provider, base_url)
        return ChatSpan(self._tracer, self.metrics, call, attributes).under(CURRENT.get())

    def attempt(self, target: Target, attributes: Mapping[str, Attribute]) -> Span:
        """One attempt at a target: a call that is never the current step."""
        call = Call.of(target.model, target.provider, target.base_url)
        return AttemptSpan(self._tracer, self.metrics, call, attributes).under(CURRENT.get())

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
        self._tokens(Call.of(llm.model, llm.provider, llm.base_url), usage)
        self.stats.router_called(outcome, cost_usd)

    def attempted(self, target: Target, attempt: Attempt) -> None:
        """An attempt finished."""
        self.metrics.add("attempts", 1, (("outcome", attempt.outcome), ("target", target.id)))
        self._tokens(Call.of(target.model, target.provider, target.base_url), attempt.usage)

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

    def _tokens(self, call: Call, usage: Usage) -> None:
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


@lru_cache(maxsize=64)
def _outcome(outcome: str) -> Labels:
    return (("outcome", outcome),)
