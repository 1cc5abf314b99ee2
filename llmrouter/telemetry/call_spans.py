"""The spans that measure something besides: calls of models, and requests of callers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind

from llmrouter.domain import semconv
from llmrouter.domain.interfaces import Attribute
from llmrouter.telemetry.metrics import Buckets, Labels, Metrics
from llmrouter.telemetry.spans import Span, Tracer

TIMINGS: Final = 4096
Timing = tuple[str, str, object, object]  # method, route, status, error type


class Call:
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
    def of(model: str, provider: str, base_url: str) -> Call:
        """The one for these three; catalogs hold few."""
        return Call(model, provider, base_url)


class ChatSpan(Span):
    """A CLIENT span that also times the call, and what the request spent waiting for it."""

    __slots__ = ("_call", "_metrics")
    kind = SpanKind.CLIENT

    def __init__(
        self, tracer: Tracer, metrics: Metrics, call: Call, attributes: Mapping[str, Attribute]
    ) -> None:
        super().__init__(tracer, call.name, {**call.attributes, **attributes})
        self._call = call
        self._metrics = metrics

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


class AttemptSpan(ChatSpan):
    """A CLIENT span beside which others may run: nothing is placed below it by itself."""

    __slots__ = ()
    current = False


class RequestTimes:
    """Where requests are timed, and how many run now."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.running = 0
        self.known: dict[Timing, tuple[Buckets, Buckets]] = {}

    def of(self, key: Timing) -> tuple[Buckets, Buckets]:
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
        if len(self.known) < TIMINGS:
            self.known[key] = found
        return found


class RequestSpan(Span):
    """A SERVER span that also times the request, and what of it the service itself took."""

    __slots__ = ("_method", "_route", "_times")
    kind = SpanKind.SERVER

    def __init__(self, tracer: Tracer, times: RequestTimes, method: str, route: str) -> None:
        attributes: dict[str, Attribute] = {
            semconv.HTTP_METHOD: method,
            semconv.HTTP_ROUTE: route,
            semconv.URL_SCHEME: "http",
        }
        super().__init__(tracer, _server_name(method, route), attributes)
        self._method = method
        self._route = route
        self._times = times

    def __enter__(self) -> Span:
        """Start the span."""
        self._times.running += 1
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the span and record its duration."""
        attributes, times = self.attributes, self._times
        status = attributes.get(semconv.HTTP_STATUS_CODE, 0)
        if isinstance(status, int) and status >= 500 and not self.failed:
            self.fail(str(status))
        super().__exit__(kind, error, trace)
        times.running -= 1
        failed = attributes[semconv.ERROR_TYPE] if self.failed else ""
        key = (self._method, self._route, status, failed)
        total, own = times.known.get(key) or times.of(key)
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


@lru_cache(maxsize=512)
def _server_name(method: str, route: str) -> str:
    return f"{'HTTP' if method == '_OTHER' else method} {route}"
