"""What leaves, and in whose name."""

from __future__ import annotations

import os

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling

from llmrouter.fastpath.telemetry.exporter import EncodedSpanExporter
from llmrouter.telemetry import export

BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        ("always_on", "", "AlwaysOnSampler"),
        ("always_off", "", "AlwaysOffSampler"),
        ("traceidratio", "0.25", "TraceIdRatioBased{0.25}"),
        ("parentbased_always_off", "", "ParentBased{root:AlwaysOffSampler,"),
        ("parentbased_traceidratio", "0.5", "ParentBased{root:TraceIdRatioBased{0.5},"),
        ("traceidratio", "7", "TraceIdRatioBased{1.0}"),
        ("traceidratio", "half", "TraceIdRatioBased{1.0}"),
        ("jaeger_remote", "", "ParentBased{root:AlwaysOnSampler,"),
    ],
)
def test_the_sampler_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, argument: str, expected: str
) -> None:
    """Every standard name gives its sampler; nonsense keeps every trace."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    assert export.sampler().get_description().startswith(expected)


def test_the_default_sampler_follows_the_caller() -> None:
    """Without a variable it is parentbased_always_on."""
    assert isinstance(export.sampler(), sampling.ParentBased)


def test_each_process_is_an_instance_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process has an id and a number; what the environment says about it wins."""
    found = export.resource().attributes
    assert found["service.name"] == "llmrouter"
    assert found["service.instance.id"]
    assert found["process.pid"] == os.getpid()
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=one,service.name=mine")
    assert export.resource().attributes["service.instance.id"] == "one"
    assert export.resource().attributes["service.name"] == "mine"


def test_the_sdk_takes_encoded_spans() -> None:
    """The SDK's exporter still has the client that the encoder is put in front of."""
    exporter = EncodedSpanExporter(Resource({}), endpoint="http://127.0.0.1:9/v1/traces")
    assert exporter.usable
    exporter.shutdown()


def test_the_queue_is_larger_unless_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without variables there is room for a busy router's spans; variables win."""
    monkeypatch.setenv(BASE, "http://127.0.0.1:9")
    roomy = export.tracer(Resource({})).stop()
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "600")
    asked = export.tracer(Resource({})).stop()
    assert roomy is not None
    assert asked is not None
    assert [made.sizes.queue for made in (roomy, asked)] == [16_384, 600]
    for made in (roomy, asked):
        made.shutdown()


def test_another_sdk_gets_its_own_batch_processor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the private client is gone, or the setting says so, the SDK's own way is used."""
    monkeypatch.setenv(BASE, "http://127.0.0.1:9")
    monkeypatch.setattr(EncodedSpanExporter, "usable", False)
    for fast, warned in ((False, 0), (True, 1)):
        made = export.tracer(Resource({}), fast=fast).stop()
        assert isinstance(made, export.SdkBatches)
        assert len(caplog.records) == warned
        made.shutdown()
