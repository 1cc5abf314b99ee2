"""Scripted stand-ins for what the HTTP layer is given; the sockets in these tests are real."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
from aiohttp import web

from llmrouter.api.app import create_app
from llmrouter.api.dependencies import Dependencies
from llmrouter.api.http_errors import Runner
from llmrouter.catalog.editor import Edit, Saved
from llmrouter.catalog.loader import Edits
from llmrouter.catalog.versions import EarlierText
from llmrouter.domain.catalog import Catalog, Prompts
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.completion import Attempt, Completion, ResponseEvent, Usage
from llmrouter.domain.decision import (
    Alternative,
    Decision,
    Estimate,
    Exclusion,
    Feedback,
    Source,
)
from llmrouter.domain.target import Price, Target
from llmrouter.errors import LLMRouterError, NotFound, Problem, StoreFailed

COMPLETION = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m-small",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"four"},'
    b'"finish_reason":"stop","x_ext":{"kept":true}}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}'
)


def a_target(name: str = "small", **over: Any) -> Target:
    """An enabled target."""
    return replace(
        Target(
            name,
            f"m-{name}",
            "openai",
            "http://127.0.0.1:1/v1",
            Price(0.1, 0.4),
            128_000,
            f"{name}: good at short things",
        ),
        **over,
    )


CATALOG = Catalog(
    {
        "small": a_target("small"),
        "large": a_target("large", price=Price(2.0, 8.0), tiers=frozenset({"pro"})),
        "off": a_target("off", enabled=False),
    },
    "small",
    Prompts("route {{ query }}"),
    version="c0ffee",
)

DECISION = Decision(
    "dec-1",
    "small",
    "m-small",
    "openai",
    Source.LLM,
    0.9,
    "arithmetic",
    "a short sum",
    (Alternative("large", 0.4),),
    (Exclusion("off", "disabled"),),
    ("large",),
    Estimate(10, 20, 0.00001, 700.0),
    "c0ffee",
    "0" * 32,
    0.5,
    tenant="secret-tenant",
)


def chunk(text: str, **over: Any) -> ResponseEvent:
    """One SSE event of a streamed completion."""
    data = (
        b'data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1,'
        b'"model":"m-small","choices":[{"index":0,"delta":{"content":"%b"},'
        b'"finish_reason":null}]}\n\n' % text.encode()
    )
    event = ResponseEvent(
        data, "text/event-stream", text, response_id="chatcmpl-9", model="m-small"
    )
    return replace(event, **over)


DONE = ResponseEvent(b"data: [DONE]\n\n", "text/event-stream", done=True)


@dataclass
class FakeRouted:
    """A reply of scripted events; an exception among them is raised when its turn comes."""

    decision: Decision
    events: Sequence[ResponseEvent | Exception | asyncio.Event]
    content_type: str = "application/json"
    status: int = 200
    cost_usd: float = 0.002
    usage: Usage = field(default_factory=lambda: Usage(3, 1))
    target: str | None = None
    tried: int = 0
    warnings: tuple[str, ...] = ()
    fails: Exception | None = None
    failed: tuple[Attempt, ...] = ()
    completion: Completion | None = None
    breaks: LLMRouterError | None = None
    error: LLMRouterError | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self) -> None:
        """Get to the commit point past the attempts that `failed`, or raise what `fails`."""
        self.tried = len(self.failed)
        if self.fails is not None:
            cost = sum(attempt.cost_usd for attempt in self.failed)
            self.completion = Completion(self.decision.target, self.failed, cost, 12.5)
            raise self.fails
        self.tried += 1
        self.target = self.target or self.decision.target

    def pays(self, afford: Callable[[float], Awaitable[bool]], held_usd: float) -> None:
        """It never asks."""

    def __aiter__(self) -> AsyncIterator[ResponseEvent]:
        return self._read()

    async def _read(self) -> AsyncIterator[ResponseEvent]:
        for number, event in enumerate(self.events, 1):
            if number == len(self.events):
                self.error = self.breaks
            if isinstance(event, Exception):
                raise event
            if isinstance(event, asyncio.Event):
                await event.wait()
                continue
            yield event
        attempt = Attempt("small", "ok", "", 12.0, self.cost_usd, self.usage)
        self.completion = Completion("small", (*self.failed, attempt), self.cost_usd, 12.5)

    async def aclose(self) -> None:
        """Note that the upstream was let go."""
        self.closed.set()


class FakeGateway:
    """Answers what it is told to; keeps what it was asked."""

    def __init__(self, catalog: Catalog = CATALOG) -> None:
        self.current = catalog
        self.decision = DECISION
        self.fails: Exception | None = None
        self.unanswered: Exception | None = None
        self.failed: tuple[Attempt, ...] = ()
        self.answered_by: str | None = None
        self.broke_off: LLMRouterError | None = None
        self.asked: list[tuple[ChatRequest, Caller]] = []
        self.rated: list[tuple[Feedback, Caller]] = []
        self.streamed: Sequence[ResponseEvent | Exception | asyncio.Event] = (
            chunk("fo"),
            chunk("ur", finish_reason="stop"),
            DONE,
        )
        self.body = COMPLETION
        self.cost_usd = 0.002
        self.usage = Usage(3, 1)
        self.replies: list[FakeRouted] = []
        self.hold: asyncio.Event | None = None
        self.entered = asyncio.Event()

    @property
    def catalog(self) -> FakeGateway:
        """The fake is its own catalog source."""
        return self

    async def decide(self, request: ChatRequest, caller: Caller) -> Decision:
        """The scripted decision or failure."""
        self.asked.append((request, caller))
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.fails is not None:
            raise self.fails
        return self.decision

    def input_tokens(self, request: ChatRequest, caller: Caller) -> int:
        """A token a message."""
        return len(request.messages)

    async def complete(self, request: ChatRequest, caller: Caller) -> FakeRouted:
        """A scripted reply."""
        decision = await self.decide(request, caller)
        if request.stream:
            routed = FakeRouted(decision, self.streamed, "text/event-stream; charset=utf-8")
        else:
            routed = FakeRouted(decision, (ResponseEvent(self.body),))
        routed.cost_usd, routed.usage = self.cost_usd, self.usage
        routed.breaks, routed.fails = self.broke_off, self.unanswered
        routed.failed, routed.target = self.failed, self.answered_by
        self.replies.append(routed)
        return routed

    async def record_feedback(self, feedback: Feedback, caller: Caller) -> None:
        """Only one decision is known."""
        if feedback.decision_id != self.decision.decision_id:
            raise NotFound("there is no such decision", code="decision_not_found")
        self.rated.append((feedback, caller))

    async def recent(self, limit: int, caller: Caller) -> list[dict[str, Any]]:
        """The one decision, at most `limit` times."""
        return [self.decision.public()][:limit]


class FakeSpan:
    """Keeps what was set."""

    def __init__(self, method: str, route: str) -> None:
        self.attributes: dict[str, Any] = {"method": method, "route": route}
        self.failed: str | None = None

    def set(self, name: str, value: Any) -> None:
        """Keep an attribute."""
        self.attributes[name] = value

    def event(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Nothing here has events."""

    def fail(self, error_type: str, message: str = "") -> None:
        """Keep the failure."""
        self.failed = error_type

    def headers(self) -> dict[str, str]:
        """No trace."""
        return {}


class FakeTelemetry:
    """Keeps spans and counts."""

    def __init__(self) -> None:
        self.spans: list[FakeSpan] = []
        self.counts: dict[str, float] = defaultdict(float)

    @contextmanager
    def request(self, method: str, route: str, headers: Mapping[str, str]) -> Iterator[FakeSpan]:
        """One span."""
        span = FakeSpan(method, route)
        self.spans.append(span)
        yield span

    def count(self, name: str, value: float, attributes: Mapping[str, str]) -> None:
        """Add up."""
        self.counts[name] += value

    def spent(self, key: str, cost_usd: float) -> None:
        """Add up."""
        self.counts[f"spent by {key}"] += cost_usd

    def metrics_text(self) -> str:
        """One metric."""
        return "# TYPE llmrouter_up gauge\nllmrouter_up 1\n"


class FakeDesk:
    """A catalog holder; `current` raises when there is none."""

    def __init__(self, catalog: Catalog | None = CATALOG) -> None:
        self.catalog = catalog
        self.problems: tuple[Problem, ...] = ()
        self.written: list[Edit] = []
        self.reverted: list[tuple[Edit, str | None]] = []

    @property
    def current(self) -> Catalog:
        """The catalog."""
        if self.catalog is None:
            raise LookupError("no catalog yet")
        return self.catalog

    async def read(self, path: str) -> str:
        """The same text for every target there is."""
        name = path.removeprefix("catalog/").removesuffix(".md")
        if name not in self.current.targets:
            raise NotFound("no such target", code="target_not_found")
        return f"---\nmodel: m-{name}\n---\n"

    async def save(self, edit: Edit) -> Saved:
        """Keep an edit."""
        self.written.append(edit)
        return Saved(self.current, "2")

    async def history(self, path: str) -> list[EarlierText]:
        """Two edits; before the older one there was no file."""
        return [EarlierText("2", 2.0, "two"), EarlierText("1", 1.0, None)]

    async def undo(self, edit: Edit, version: str | None = None) -> Saved:
        """Keep what was asked for."""
        self.reverted.append((edit, version))
        return Saved(self.current, "3")

    async def files(self) -> tuple[str, dict[str, str]]:
        """Two files."""
        return "2", {"catalog/small.md": "now", "catalog/new.md": "new"}

    async def texts(self, version: str) -> dict[str, str]:
        """What one file held."""
        return {"catalog/small.md": f"as in {version}"}


class Counters:
    """The part of a store that limits use; `broken` makes it fail, `pause` makes it yield."""

    def __init__(self) -> None:
        self.values: dict[str, float] = defaultdict(float)
        self.writes = 0
        self.broken = False

    async def increment(self, key: str, by: float, ttl_s: float) -> float:
        """Add atomically; others may run before and after."""
        if self.broken:
            raise StoreFailed("the disk is gone")
        await asyncio.sleep(0)
        self.writes += 1
        self.values[key] += by
        value = self.values[key]
        await asyncio.sleep(0)
        return value


async def no_stats(caller: Caller, window: str) -> dict[str, Any]:
    """Figures that say who asked."""
    return {"decisions": 1, "caller": caller.name}


class NoCanary:
    """A canary control that has none."""

    async def start(self, files: Mapping[str, str], share: float) -> dict[str, Any]:
        """It says what it was given."""
        return {"status": "running", "share": share, "files": sorted(files)}

    async def status(self) -> dict[str, Any]:
        """None has run."""
        return {"status": "none"}

    async def promote(self, by: str | None = None) -> dict[str, Any]:
        """There is none."""
        raise NotFound("no canary runs")

    async def stop(self) -> dict[str, Any]:
        """There is none."""
        raise NotFound("no canary runs")


async def no_check(edits: Edits) -> tuple[list[Problem], list[Problem]]:
    """One problem in each file that is given."""
    return [Problem(path, 1, "wrong") for path in edits], []


def services(gateway: FakeGateway | None = None, **over: Any) -> Dependencies:
    """Services over fakes."""
    given: dict[str, Any] = {
        "gateway": gateway or FakeGateway(),
        "telemetry": FakeTelemetry(),
        "catalog": FakeDesk(),
        "stats": no_stats,
        **over,
    }
    return Dependencies(**given)


@asynccontextmanager
async def serving(given: Dependencies) -> AsyncIterator[str]:
    """The address of the application on a real socket, run as the service runs it."""
    runner = Runner(
        create_app(given), access_log=None, handler_cancellation=True, shutdown_timeout=1.0
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    try:
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Answer:
    """One answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any

    @property
    def error(self) -> dict[str, Any]:
        """The envelope's inside; it must have exactly OpenAI's four keys."""
        assert set(self.json) == {"error"}
        assert set(self.json["error"]) == {"message", "type", "param", "code"}
        error: dict[str, Any] = self.json["error"]
        return error


class Client:
    """Calls one service."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self.session = session
        self.address = address

    async def call(self, method: str, path: str, **more: Any) -> Answer:
        """One call."""
        async with self.session.request(method, self.address + path, **more) as response:
            body = await response.read()
            is_json = response.content_type == "application/json" and body
            parsed = await response.json() if is_json else None
            return Answer(response.status, response.headers, body, parsed)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        """Bytes as they are, anything else as JSON."""
        if isinstance(body, (bytes, str)):
            headers = {"Content-Type": "application/json", **more.pop("headers", {})}
            return await self.call("POST", path, data=body, headers=headers, **more)
        return await self.call("POST", path, json=body, **more)

    async def get(self, path: str, **more: Any) -> Answer:
        """One GET."""
        return await self.call("GET", path, **more)


@asynccontextmanager
async def client_of(given: Dependencies) -> AsyncIterator[Client]:
    """A client of a running service."""
    async with serving(given) as address, aiohttp.ClientSession() as session:
        yield Client(session, address)
