"""What the HTTP layer is given, and nothing it could build itself.

Handlers see these Protocols alone, so a fake gateway on a real socket tests all of them. The
composition root fills in a `Dependencies` and hands it to `create_app`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler

from llmrouter import __version__
from llmrouter.api.answer_model import AnswerModel
from llmrouter.api.body_decoder import AT_ONCE
from llmrouter.api.body_limits import DEFAULT_LIMITS, DEFAULT_TIMEOUTS, BodyLimits, Timeouts
from llmrouter.api.load_shedding import LoadShedder
from llmrouter.api.middleware.hosts import ANY_HOST, HostPolicy
from llmrouter.auth.api_keys import OPEN, Authenticator
from llmrouter.auth.managed_keys import ManagedKeys
from llmrouter.catalog.editor import Edit, Saved
from llmrouter.catalog.loader import Edits
from llmrouter.catalog.version_diff import VersionDiff
from llmrouter.catalog.versions import EarlierText, Version
from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.completion import Completion, ResponseEvent
from llmrouter.domain.decision import Decision, Feedback
from llmrouter.domain.decision_query import DecisionQuery
from llmrouter.domain.interfaces import CatalogSource, Span
from llmrouter.errors import Forbidden, LLMRouterError, Problem, Unauthorized
from llmrouter.ratelimit.key_limits import RateLimiter
from llmrouter.util.lru import Recent


class Routed(Protocol):
    """An execution: `open` takes it to its commit point, where the first event is known to be good.

    `target` then answers, after `tried` attempts. `completion` is set once the last event is out,
    once `aclose` gave up the rest, or when no attempt succeeded. `error` tells of a reply that
    broke off after its commit point and whose last event said so.
    """

    decision: Decision
    status: int
    content_type: str
    completion: Completion | None
    error: LLMRouterError | None

    @property
    def target(self) -> str | None:
        """Who answers, once that is known."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the wire format of who answers could not carry."""
        ...

    @property
    def tried(self) -> int:
        """Attempts so far, the one that is running included."""
        ...

    async def open(self) -> object:
        """Execute up to the first event; before it every failure raises."""
        ...

    def pays(self, afford: Callable[[float], Awaitable[bool]], held_usd: float) -> None:
        """Have it ask before it comes to more (USD in all) than is held."""
        ...

    def __aiter__(self) -> AsyncIterator[ResponseEvent]:
        """The reply's events, the first included."""
        ...

    async def aclose(self) -> None:
        """Let go of the upstream at once; idempotent."""
        ...


class Gateway(Protocol):
    """The page to read first, as the handlers see it. Each call raises LLMRouterError."""

    @property
    def catalog(self) -> CatalogSource:
        """Where the current catalog is."""
        ...

    async def decide(self, request: ChatRequest, caller: Caller) -> Decision:
        """Decide, execute nothing."""
        ...

    def input_tokens(self, request: ChatRequest, caller: Caller) -> int:
        """About how many tokens a request has."""
        ...

    async def complete(self, request: ChatRequest, caller: Caller) -> Routed:
        """Decide. The execution starts when it is opened."""
        ...

    async def record_feedback(self, feedback: Feedback, caller: Caller) -> None:
        """Keep feedback. NotFound when the caller has no such decision."""
        ...

    async def recent(self, limit: int, caller: Caller) -> list[dict[str, Any]]:
        """The caller's newest decisions, newest first, in their public shape."""
        ...


class Telemetry(Protocol):
    """The SERVER span around a request, counters, and the text for Prometheus."""

    def request(
        self, method: str, route: str, headers: Mapping[str, str]
    ) -> AbstractContextManager[Span]:
        """The request's span; `route` is the path's template, `headers` may carry a trace."""
        ...

    def count(self, name: str, value: float, attributes: Mapping[str, str]) -> None:
        """Add to a counter."""
        ...

    def spent(self, key: str, cost_usd: float) -> None:
        """A request of this key cost so much, its decision included."""
        ...

    def metrics_text(self) -> bytes | str:
        """All metrics in the Prometheus text format."""
        ...


class CatalogStatus(Protocol):
    """The catalog that serves, and what was wrong with the last edit."""

    @property
    def current(self) -> Catalog:
        """The catalog that serves now. Raises when there has never been a valid one."""
        ...

    @property
    def problems(self) -> Sequence[Problem]:
        """Why the newest files are not the ones that serve; empty when they are."""
        ...


class CatalogEditor(Protocol):
    """Edits of a catalog's files; they serve when they return. Raises as `catalog.editor`."""

    async def read(self, path: str) -> str:
        """A file's text as it is on disk."""
        ...

    async def files(self) -> tuple[str, Mapping[str, str]]:
        """The newest version's id, and every text as it is on disk."""
        ...

    async def save(self, edit: Edit) -> Saved:
        """Make an edit, or change nothing."""
        ...

    async def history(self, path: str) -> Sequence[EarlierText]:
        """What a file held before its last edits, newest first."""
        ...

    async def undo(self, edit: Edit, version: str | None = None) -> Saved:
        """Bring back what the edit's one path held before an edit, by default the last one."""
        ...

    async def versions(self) -> Sequence[Version]:
        """Every version of the directory, oldest first."""
        ...

    async def texts(self, version: str) -> Mapping[str, str]:
        """The texts of a version by path."""
        ...

    async def diff(self, older: str, newer: str | None) -> VersionDiff:
        """What differs between two versions; None is the newest."""
        ...

    async def revert(self, version: str, by: str | None) -> Saved:
        """Make the whole directory what it was in a version."""
        ...


class CanaryControl(Protocol):
    """An edited catalog that takes a share of the sessions (`catalog.canary.live_canary`)."""

    async def start(self, files: Mapping[str, str], share: float) -> Mapping[str, Any]:
        """Start one."""
        ...

    async def status(self) -> Mapping[str, Any]:
        """Its state, figures and verdict."""
        ...

    async def promote(self, by: str | None) -> Mapping[str, Any]:
        """Make its files the current catalog, on whose key's behalf."""
        ...

    async def stop(self) -> Mapping[str, Any]:
        """End it."""
        ...


Stats = Callable[[Caller, str], Awaitable[Mapping[str, Any]]]
"""Figures of everyone or of a caller's tenant over a window: `hour`, `day` or `fortnight`."""
CheckFiles = Callable[[Edits], Awaitable[tuple[Sequence[Problem], Sequence[Problem]]]]
"""The problems and the warnings of edited files over those on disk."""
DecisionPage = Callable[[DecisionQuery, Caller], Awaitable[Mapping[str, Any]]]
"""A page of past decisions; raises StoreFailed."""
Try = Callable[[Edits, ChatRequest, Caller], Awaitable[Decision]]
"""The decision that edited files would make of a request; it is not kept."""
Learning = Callable[[], Mapping[str, Any]]
"""What the learned model is trusted with, and why."""
RollBack = Callable[[], Awaitable[Mapping[str, Any]]]
"""Makes the learned model before this one serve; raises NotFound, StoreFailed."""
FindFrontier = Callable[[Caller], Awaitable[Mapping[str, Any]]]
"""What the router believes of each target, by task."""
Preview = Callable[[Edits, int], Awaitable[bytes]]
FindDecision = Callable[[str, Caller], Awaitable[Mapping[str, Any] | None]]


Front = Callable[[Handler], Handler]
"""What a connection asks before the application's own dispatch, which it is given."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Everything the HTTP layer stands on.

    `metrics` is the page of all workers where there are several; else telemetry's own is shown.

    `editor` edits the catalog's files; `preview` says, as JSON, what edits would change for the
    newest recorded requests; `find_decision` reads one decision. Where one of the first two is
    None, its paths are absent. `limits` None means that no key can be limited. `read` keeps
    what recent bodies were parsed to. `base_path` (`/llm`, or "") stands before every path.
    `public_details` says that `/metrics` and `/readyz` name keys and paths to everyone, not to
    the admin key alone. `store_problem` says why the store keeps nothing.
    """

    gateway: Gateway
    telemetry: Telemetry
    catalog: CatalogStatus
    stats: Stats
    series: Stats | None = None
    metrics: Callable[[], bytes] | None = None
    keyring: Authenticator = OPEN
    limits: RateLimiter | None = None
    admission: LoadShedder = field(default_factory=LoadShedder)
    editor: CatalogEditor | None = None
    preview: Preview | None = None
    canary: CanaryControl | None = None
    managed_keys: ManagedKeys | None = None
    check: CheckFiles | None = None
    find_decision: FindDecision | None = None
    decisions: DecisionPage | None = None
    frontier: FindFrontier | None = None
    trial: Try | None = None
    learning: Learning | None = None
    roll_back: RollBack | None = None
    records_prompts: bool = False
    max_body_bytes: int = 10 * 1024 * 1024
    answer_model: AnswerModel = "auto"
    body_limits: BodyLimits = DEFAULT_LIMITS
    hosts: HostPolicy = ANY_HOST
    base_path: str = ""
    store_problem: Callable[[], str | None] = lambda: None
    public_details: bool = False
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    unpacking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    started_at: float = field(default_factory=time.time)
    version: str = __version__
    read: Recent[tuple[str, bytes], ChatRequest] = field(default_factory=Recent)

    @property
    def active_limits(self) -> RateLimiter | None:
        """The limiter while any key is limited."""
        limits = self.limits
        return limits if limits is not None and limits.active else None


SERVICES: web.AppKey[Dependencies] = web.AppKey("services", Dependencies)
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
FRONT: web.AppKey[Front] = web.AppKey("front")


def sees_details(request: web.Request, services: Dependencies) -> bool:
    """Whether a caller of a public path may see names of keys, addresses and paths of files."""
    if services.public_details:
        return True
    try:
        services.keyring.may_administer(services.keyring.caller(request.headers))
    except (Unauthorized, Forbidden):
        return False
    return True
