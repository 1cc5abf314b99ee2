"""Decides one request under edited files, so that two catalogs can be compared before one is saved.

Stages, prices and what is learned are those of the service; the catalog alone is another. The
decision is not kept: it cannot be executed or rated, and counts nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

from llmrouter.catalog.live_catalog import CatalogHolder
from llmrouter.catalog.loader import Edits
from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import Decision, Feedback, RoutingContext
from llmrouter.domain.interfaces import Observer
from llmrouter.gateway import Gateway, GatewayDependencies


class Trial:
    """Answers `POST /catalog/route`."""

    def __init__(self, rooms: GatewayDependencies, holder: CatalogHolder) -> None:
        self._rooms = rooms
        self._holder = holder

    async def decide(self, edits: Edits, request: ChatRequest, caller: Caller) -> Decision:
        """The decision under the edited files. Raises CatalogInvalid and what deciding raises."""
        edited = Edited(await self._holder.edited(edits))
        rooms = replace(
            self._rooms,
            catalog=edited,
            canary=None,
            ledger=Forgetful(),
            observer=cast("Observer", Unobserved()),
            journal=Unread(),
            sessions=None,
        )
        return await Gateway(rooms).decide(request, caller)


class Edited:
    """A catalog source that never changes."""

    def __init__(self, current: Catalog) -> None:
        self._current = current

    @property
    def current(self) -> Catalog:
        """The edited catalog."""
        return self._current


class Unobserved:
    """The part of an observer that deciding uses; it counts and traces nothing."""

    @contextmanager
    def route(self) -> Iterator[Unobserved]:
        """A span that is no span."""
        yield self

    def decided(self, decision: Decision) -> None:
        """Nothing."""

    def set(self, name: str, value: object) -> None:
        """Nothing."""

    def headers(self) -> Mapping[str, str]:
        """None."""
        return {}


class Forgetful:
    """A decision log that keeps nothing."""

    def new_id(self) -> str:
        """The id of a decision that is not kept."""
        return "dec_trial"

    def remember(self, decision: Decision) -> None:
        """Nothing."""

    async def find(self, decision_id: str, tenant: str | None) -> Decision | None:
        """None."""
        return None

    def recent(self, limit: int, tenant: str | None) -> list[Decision]:
        """None."""
        return []


class Unread:
    """A journal that notes nothing."""

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """Nothing."""

    def completed(self, decision: Decision, completion: Completion) -> None:
        """Nothing."""

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Nothing."""
