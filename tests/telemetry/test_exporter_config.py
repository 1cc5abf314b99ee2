"""What the environment asks for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from llmrouter.telemetry.exporter_config import Wanted, propagated, wanted

BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (False, False)),
        ({BASE: "http://c:4318"}, (True, True)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/v1/traces"}, (True, False)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c/v1/metrics"}, (False, True)),
        ({BASE: "http://c:4318", "OTEL_METRICS_EXPORTER": "none"}, (True, False)),
        ({BASE: "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, (False, False)),
    ],
)
def test_which_signals_leave(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[bool, bool]
) -> None:
    """Only signals with an endpoint, and none while the SDK is disabled."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert wanted() == Wanted(*expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, (True, True)), ("tracecontext", (True, False)), ("none", (False, False))],
)
def test_what_passes_on(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: tuple[bool, bool]
) -> None:
    """OTEL_PROPAGATORS chooses between trace context and baggage."""
    if value is not None:
        monkeypatch.setenv("OTEL_PROPAGATORS", value)
    assert propagated() == expected


def test_who_exports_nothing_loads_no_exporter() -> None:
    """The exporters are megabytes that only a service with an endpoint pays for."""
    code = (
        "import sys; from llmrouter.telemetry.telemetry import Telemetry; Telemetry().start(); "
        "print([name for name in sys.modules if name.startswith(('google.protobuf', "
        "'opentelemetry.exporter'))])"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    made = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert made.stdout.strip() == "[]"
