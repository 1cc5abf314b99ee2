"""What the gateway is made of: stages, the catalog, the decision log."""

from __future__ import annotations

from typing import Protocol

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.decision import Decision, RoutingContext, StageResult
from llmrouter.domain.features import Features


class Stage(Protocol):
    """One way of choosing. Adding one is one file."""

    name: str

    async def decide(self, context: RoutingContext) -> StageResult | None:
        """A verdict, or None to abstain. Raising counts as abstaining and is noted."""
        ...


class CatalogSource(Protocol):
    """Where the current catalog is. Reading `current` is free; it swaps whole."""

    @property
    def current(self) -> Catalog:
        """The catalog that serves now."""
        ...


class FeatureExtractor(Protocol):
    """Reads a request once (`features.extractor.Extractor`)."""

    def features(self, request: ChatRequest, caller: Caller) -> Features:
        """The request's features."""
        ...


class Ledger(Protocol):
    """Remembers decisions (`store.decision_log.DecisionLog`)."""

    def new_id(self) -> str:
        """An id for a decision about to be made."""
        ...

    def remember(self, decision: Decision) -> None:
        """Keep a decision."""
        ...

    async def find(self, decision_id: str, tenant: str | None) -> Decision | None:
        """The tenant's decision, or None; a tenant of None is everyone."""
        ...

    def recent(self, limit: int, tenant: str | None) -> list[Decision]:
        """The tenant's newest decisions; a tenant of None is everyone."""
        ...


class Canary(Protocol):
    """An edited catalog that takes a share (`catalog.canary.live_canary.LiveCanary`)."""

    @property
    def active(self) -> bool:
        """Whether some sessions get another catalog."""
        ...

    def choose(self, current: Catalog, session: str) -> tuple[Catalog, str]:
        """A session's catalog, and the name of its arm."""
        ...

    def catalog_of(self, decision: Decision, current: Catalog) -> Catalog:
        """The catalog of a decision's arm."""
        ...
