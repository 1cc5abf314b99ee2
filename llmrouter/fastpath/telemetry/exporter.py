"""The SDK's OTLP exporter, given spans that are encoded already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult

from llmrouter.fastpath.telemetry.encoding import encode_trace_request


class EncodedSpanExporter(OTLPSpanExporter):
    """Sends what `encode_span` made through the SDK's own HTTP client, retries and all.

    The client is a private part of the SDK; `usable` is False where it is missing.
    """

    def __init__(self, resource: Resource, **options: Any) -> None:
        super().__init__(**options)
        self._resource = resource
        self._bytes = getattr(self, "_client", None)

    @property
    def usable(self) -> bool:
        """Whether this SDK has the client that takes bytes."""
        return callable(getattr(self._bytes, "export", None))

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """Send one batch; called in the thread of `batch`."""
        if self._bytes is None or self._shutdown:
            return SpanExportResult.FAILURE
        sent = self._bytes.export(encode_trace_request(self._resource, spans))
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE
