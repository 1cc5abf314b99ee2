"""Which of the signals the `OTEL_*` variables ask for, before anything is loaded to send them.

The exporters are several megabytes; a service that exports nothing does not import them.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

log = logging.getLogger(__name__)

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the environment asks for."""

    traces: bool = False
    metrics: bool = False


def wanted() -> Wanted:
    """Which signals have an endpoint; none while `OTEL_SDK_DISABLED` is true."""
    env = os.environ
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Wanted()
    traces, metrics = (
        bool(env.get(ENDPOINT) or env.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))
        and env.get(f"OTEL_{signal}_EXPORTER", "otlp").strip().lower() != "none"
        for signal in ("TRACES", "METRICS")
    )
    protocol = env.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if (traces or metrics) and protocol != "http/protobuf":
        log.warning("OTEL_EXPORTER_OTLP_PROTOCOL=%s: only http/protobuf is spoken here", protocol)
    return Wanted(traces, metrics)


def propagated() -> tuple[bool, bool]:
    """Whether trace context and baggage pass on, as `OTEL_PROPAGATORS` says; both by default."""
    names = {
        name.strip().lower()
        for name in os.environ.get("OTEL_PROPAGATORS", "tracecontext,baggage").split(",")
    }
    unknown = names - {"tracecontext", "baggage", "none", ""}
    if unknown:
        log.warning("OTEL_PROPAGATORS: %s not known here", ", ".join(sorted(unknown)))
    return "tracecontext" in names, "baggage" in names
