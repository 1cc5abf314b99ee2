"""What leaves the process: spans and metrics over OTLP/HTTP, as the `OTEL_*` variables say.

Sampling, retries, headers, certificates and compression are the SDK's own and keep their variables.
Nothing here runs in the event loop: spans and metrics each leave from a thread. A collector that is
slow or gone costs spans, never a request and never a late exit.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from llmrouter.fastpath.telemetry.batch import Batches, Sizes
from llmrouter.fastpath.telemetry.encoding import encode_span
from llmrouter.fastpath.telemetry.exporter import EncodedSpanExporter
from llmrouter.telemetry.spans import Span, Tracer

log = logging.getLogger(__name__)

METRIC_INTERVAL_MS = 60_000.0


def resource() -> Resource:
    """Who is speaking. Every worker process is an instance of its own, so that the cumulative
    figures of two never pass for one that jumps back and forth.
    """
    found = Resource.create()
    process = Resource({"service.instance.id": str(uuid.uuid4()), "process.pid": os.getpid()})
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        found = found.merge(Resource({"service.name": "llmrouter"}))
    return process.merge(found)


def sampler() -> sampling.Sampler:
    """The sampler that `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` name."""
    name = os.environ.get("OTEL_TRACES_SAMPLER", "parentbased_always_on").strip().lower()
    try:
        ratio = float(os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1.0"))
    except ValueError:
        ratio = 1.0
    if not 0.0 <= ratio <= 1.0:
        log.warning("OTEL_TRACES_SAMPLER_ARG=%s is not within 0..1, every trace is kept", ratio)
        ratio = 1.0
    roots: dict[str, sampling.Sampler] = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "traceidratio": sampling.TraceIdRatioBased(ratio),
    }
    plain = name.removeprefix("parentbased_")
    if plain not in roots:
        log.warning("OTEL_TRACES_SAMPLER=%s is not known, every trace is kept", name)
        return sampling.DEFAULT_ON
    root = roots[plain]
    return sampling.ParentBased(root) if name.startswith("parentbased_") else root


class SdkBatches:
    """The SDK's own way out: its batch processor in front of its exporter, spans as its objects."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._processor = BatchSpanProcessor(exporter)
        self.add: Callable[[Any], None] = self._processor.on_end

    def shutdown(self) -> None:
        """Send what waits, and end."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK's has no types


def tracer(origin: Resource, *, fast: bool = True) -> Tracer:
    """Traces that are exported; `OTEL_BSP_*` and `OTEL_TRACES_SAMPLER` say how.

    `fast` encodes spans as they end (`fastpath.telemetry`); without it, or where the SDK has no
    room for that, they go through the SDK's batch processor.
    """
    if fast:
        exporter = EncodedSpanExporter(origin)
        if exporter.usable:
            return Tracer(
                Batches(exporter, Sizes.from_environment()), sampler(), origin, encode_span
            )
        log.warning("this OpenTelemetry SDK takes no encoded spans: its own way is used")
    return Tracer(SdkBatches(OTLPSpanExporter()), sampler(), origin, Span.readable)


class MetricExport:
    """Sends metrics every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds, and once at the end."""

    def __init__(
        self, collect: Callable[[], MetricsData], exporter: OTLPMetricExporter | None = None
    ) -> None:
        self._collect = collect
        self.exporter = OTLPMetricExporter() if exporter is None else exporter
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp-metrics", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        every_s = _milliseconds("OTEL_METRIC_EXPORT_INTERVAL", METRIC_INTERVAL_MS) / 1000.0
        over = False
        while not over:
            over = self._over.wait(every_s)
            try:
                self.exporter.export(self._collect())
            except Exception:
                log.exception("metrics could not be exported")

    def close(self, limit_s: float) -> None:
        """Send what is left and end, within `limit_s` seconds."""
        self._over.set()
        self._thread.join(limit_s)
        self.exporter.shutdown()


def _milliseconds(name: str, otherwise: float) -> float:
    try:
        given = float(os.environ.get(name, otherwise))
    except ValueError:
        given = 0.0
    if given <= 0:
        log.warning("%s is not a number of milliseconds, %g it is", name, otherwise)
        return otherwise
    return given
