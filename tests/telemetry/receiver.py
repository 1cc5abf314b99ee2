"""A collector for tests: a real socket that takes OTLP/HTTP and decodes what arrives."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Receiver:
    """What arrived, decoded; `raw` keeps the bytes as they came out of any compression."""

    endpoint: str = ""
    spans: list[Span] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def traces(self, request: web.Request) -> web.Response:
        """Take spans."""
        sent = ExportTraceServiceRequest.FromString(await self._body(request))
        for group in sent.resource_spans:
            self.resources.append(values(group.resource.attributes))
            for scope in group.scope_spans:
                assert scope.scope.name == "llmrouter"
                self.spans += scope.spans
        return web.Response(content_type="application/x-protobuf")

    async def figures(self, request: web.Request) -> web.Response:
        """Take metrics."""
        sent = ExportMetricsServiceRequest.FromString(await self._body(request))
        for group in sent.resource_metrics:
            self.resources.append(values(group.resource.attributes))
            for scope in group.scope_metrics:
                self.metrics += scope.metrics
        self.arrived.set()
        return web.Response(content_type="application/x-protobuf")

    async def _body(self, request: web.Request) -> bytes:
        assert request.content_type == "application/x-protobuf"
        self.headers.append(dict(request.headers))
        body = await request.read()  # aiohttp takes gzip off by itself where it is announced
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.raw.append(body)
        return body

    def span(self, name: str) -> Span:
        """The one span of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def metric(self, name: str) -> Metric:
        """The newest of this name."""
        return [metric for metric in self.metrics if metric.name == name][-1]


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A running receiver on a free port."""
    here = Receiver()
    app = web.Application()
    app.router.add_post("/v1/traces", here.traces)
    app.router.add_post("/v1/metrics", here.figures)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    here.endpoint = f"http://{host}:{port}"
    try:
        yield here
    finally:
        await runner.cleanup()


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """An address that takes connections and never answers."""
    held: list[asyncio.StreamWriter] = []
    over = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        await over.wait()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        over.set()
        for writer in held:
            writer.close()
        server.close()


def values(attributes: Any) -> dict[str, Any]:
    """Protobuf key-values as a plain dict."""
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)
