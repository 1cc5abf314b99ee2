"""What `/metrics` reads of the rooms each time it is asked."""

from __future__ import annotations

from llmrouter.catalog.live_catalog import CatalogHolder
from llmrouter.execution.cascade.confidence_store import StoredRecord
from llmrouter.judging.outcomes import StoredOutcomes
from llmrouter.routing.worth import Worth
from llmrouter.telemetry.telemetry import Telemetry
from llmrouter.upstream.health import TargetHealth
from llmrouter.upstream.router_client import RouterClient


def watch_health(telemetry: Telemetry, health: TargetHealth, chat: RouterClient) -> None:
    """What `/metrics` shows of circuit breakers: the targets', and those of small LLMs' servers."""
    telemetry.gauge(
        "breaker_state",
        lambda: {(("state", s), ("target", t)): 1.0 for t, s in health.states().items()},
    )
    telemetry.gauge(
        "router_breaker_state",
        lambda: {(("server", url), ("state", s)): 1.0 for url, s in chat.circuits().items()},
    )


def watch_confidence(telemetry: Telemetry, record: StoredRecord) -> None:
    """What `/metrics` shows of the record behind cascades' confidence."""
    telemetry.gauge(
        "confidence_evidence",
        lambda: {(("measure", m), ("target", t)): n for (t, m), n in record.evidence().items()},
    )


def watch_judging(telemetry: Telemetry, judged: StoredOutcomes, worth: Worth) -> None:
    """What `/metrics` shows of calibration, and of calls that were not worth making."""
    telemetry.gauge(
        "judge_calibration_error", lambda: {(): float(judged.public()["calibration_error"])}
    )
    telemetry.gauge(
        "router_skips", lambda: {(("reason", kind),): float(n) for kind, n in worth.skips.items()}
    )
    telemetry.gauge("router_skip_regret", lambda: {(): worth.regret})


def watch_catalog(telemetry: Telemetry, holder: CatalogHolder) -> None:
    """What `/metrics` shows of the catalog's edits."""
    telemetry.gauge("catalog_problems", lambda: {(): float(len(holder.problems))})
    holder.on_change.append(lambda _: telemetry.count("catalog_reloads", 1, {}))
