"""The canary that runs: which catalog a request gets, what came of it, and its end.

One canary at a time. Its files, its share and its state are fields of one table in the store, and
so are each worker's sums, so every worker assigns alike and comes to the same verdict, over
restarts too. Each reads the table twice a second. The first worker that finds "worse" rolls back.

A session, or without one a conversation, always gets the same catalog: what decides is a keyed hash
of its name. The assignment is therefore random between sessions and fixed within one; the test
counts every graded request, so it relies on there being many sessions.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import orjson

from llmrouter.catalog.canary.evidence import ARMS, CANARY, CURRENT, SUMS, Arm, judge
from llmrouter.catalog.edit_policy import EditPolicy
from llmrouter.catalog.editor import Edit, save
from llmrouter.catalog.loader import Overrides, load, read_directory
from llmrouter.catalog.versions import Author
from llmrouter.domain.catalog import Catalog
from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import Decision, Feedback
from llmrouter.domain.interfaces import Store
from llmrouter.errors import BadRequest, CatalogInvalid, NotFound, Problem, StoreFailed
from llmrouter.util.lru import ENTRY_BYTES, Recent
from llmrouter.util.tasks import repeatedly

log = logging.getLogger(__name__)

TABLE: Final = "canary"
STATE: Final = "state"
RUNNING: Final = "running"
EVERY_S: Final = 0.5
REMEMBERED: Final = 10_000
"""Decisions whose grade counts once."""


@dataclass(frozen=True, slots=True)
class State:
    """A canary: `files` are all its texts by path; `status` is running, stopped, promoted or
    rolled back, and `reasons` say why the last."""

    id: str
    share: float
    files: Mapping[str, str]
    started_at: float
    status: str = RUNNING
    ended_at: float | None = None
    reasons: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """For the store."""
        return orjson.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def decode(cls, data: bytes) -> State:
        """From the store. Raises ValueError or TypeError for one of another build."""
        told = orjson.loads(data)
        return cls(**{**told, "reasons": tuple(told.get("reasons", ()))})


class LiveCanary:
    """Implements the canary that the gateway asks, and the journal port that feeds it."""

    def __init__(
        self,
        store: Store,
        directory: Path,
        prepared: Callable[[Catalog], Catalog],
        overrides: Overrides | None = None,
        clock: Callable[[], float] = time.time,
        allowed: EditPolicy | None = None,
    ) -> None:
        self._allowed = allowed
        self._store = store
        self._directory = directory
        self._prepared = prepared
        self._overrides = overrides
        self._clock = clock
        self._worker = secrets.token_hex(4)
        self._state: State | None = None
        self._catalog: Catalog | None = None
        self._own = {name: Arm() for name in ARMS}
        self._others: list[dict[str, Arm]] = []
        self._changed = False
        self._graded: Recent[str, bool] = Recent(REMEMBERED * ENTRY_BYTES)

    @property
    def active(self) -> bool:
        """Whether some requests get another catalog than the current one."""
        return self._catalog is not None

    def choose(self, current: Catalog, session: str) -> tuple[Catalog, str]:
        """The catalog of a session and the name of its arm; "" while no canary runs."""
        state, catalog = self._state, self._catalog
        if state is None or catalog is None:
            return current, ""
        digest = blake2b(session.encode("utf-8", "replace"), key=state.id.encode(), digest_size=8)
        place = int.from_bytes(digest.digest(), "big") / 2**64
        return (catalog, CANARY) if place < state.share else (current, CURRENT)

    def catalog_of(self, decision: Decision, current: Catalog) -> Catalog:
        """The catalog that a decision was made with, as far as it still serves."""
        if decision.arm == CANARY and self._catalog is not None:
            return self._catalog
        return current

    # What came of requests

    def completed(self, decision: Decision, completion: Completion) -> None:
        """Count an execution."""
        if self._catalog is None or decision.arm not in ARMS:
            return
        ok = any(attempt.outcome == "ok" for attempt in completion.attempts)
        usd = completion.cost_usd + decision.router_cost_usd
        self._own[decision.arm].execute(ok, usd, completion.latency_ms)
        self._changed = True

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Count the first grade of a decision: feedback from -1 to 1 as 0 to 1."""
        if self._catalog is None or decision.arm not in ARMS:
            return
        if feedback.earlier is not None or self._graded.get(decision.decision_id) is not None:
            return
        self._graded.keep(decision.decision_id, True, 0)
        self._own[decision.arm].grade((min(max(feedback.score, -1.0), 1.0) + 1.0) / 2.0)
        self._changed = True

    # Its life

    async def run(self) -> None:
        """Keep up with the store until cancelled, then once more."""
        await repeatedly(self.refresh, EVERY_S)

    async def refresh(self) -> None:
        """Write this worker's sums, read everyone's and the state, and roll back on "worse"."""
        try:
            if self._changed and self._state is not None:
                self._changed = False
                field = f"{self._state.id}:{self._worker}"
                await self._store.set_field(TABLE, field, _packed(self._own))
            fields = await self._store.fields(TABLE)
            await self._take(fields)
            state = self._state
            if state is not None and state.status == RUNNING:
                said = judge(self._arms(), state.share)
                if said.verdict == "worse":
                    await self._end("rolled back", said.reasons)
                    log.warning("the canary is rolled back: %s", "; ".join(said.reasons))
        except StoreFailed as failure:
            log.warning("canary not read: %s", failure)

    async def start(self, files: Mapping[str, str], share: float) -> dict[str, Any]:
        """Give a share (0 to 0.5) of the sessions to the catalog in `files`.

        Raises CatalogInvalid for one that cannot serve, BadRequest for a share out of range or
        while another canary runs, StoreFailed.
        """
        if not 0.0 < share <= 0.5:
            raise BadRequest("share must be over 0 and at most 0.5", param="share")
        await self._take(await self._store.fields(TABLE))
        if self._state is not None and self._state.status == RUNNING:
            raise BadRequest("a canary runs already: promote or stop it first", code="canary_runs")
        await asyncio.to_thread(self._load, files)
        state = State(secrets.token_hex(6), share, dict(files), self._clock())
        for field in await self._store.fields(TABLE):
            if field != STATE:
                await self._store.set_field(TABLE, field, None)
        await self._store.set_field(TABLE, STATE, state.encode(), durable=True)
        await self.refresh()
        return await self.status()

    async def stop(self) -> dict[str, Any]:
        """End it; every session gets the current catalog again. Raises NotFound, StoreFailed."""
        await self._running()
        await self._end("stopped", ())
        return await self.status()

    async def promote(self, by: str | None = None) -> dict[str, Any]:
        """Make the canary's files the current ones. Raises NotFound, StoreFailed, as `editor.save`.

        The files are written together; every worker takes them over as it does any saved edit.
        """
        state = await self._running()
        edit = Edit(state.files, Author(by, "canary", f"canary {state.id}"), whole=True)
        given = self._directory, edit, None, self._overrides, self._allowed
        await asyncio.to_thread(save, *given)
        await self._end("promoted", ())
        return await self.status()

    async def status(self) -> dict[str, Any]:
        """What there is to say; `status` is `none` before the first canary. Raises StoreFailed."""
        await self.refresh()
        state = self._state
        if state is None:
            return {"status": "none"}
        arms = self._arms()
        said = judge(arms, state.share)
        return {
            "id": state.id,
            "status": state.status,
            "share": state.share,
            "started_at": state.started_at,
            "ended_at": state.ended_at,
            "verdict": said.verdict,
            "reasons": list(state.reasons or said.reasons),
            "arms": {name: arms[name].public() for name in ARMS},
            "files": sorted(state.files),
        }

    async def _running(self) -> State:
        await self._take(await self._store.fields(TABLE))
        if self._state is None or self._state.status != RUNNING:
            raise NotFound("no canary runs", code="no_canary")
        return self._state

    async def _end(self, status: str, reasons: tuple[str, ...]) -> None:
        state = self._state
        assert state is not None  # noqa: S101 - only a running one ends
        ended = replace(state, status=status, ended_at=self._clock(), reasons=reasons)
        await self._store.set_field(TABLE, STATE, ended.encode(), durable=True)
        self._state, self._catalog = ended, None

    async def _take(self, fields: Mapping[str, bytes]) -> None:
        """Take over what the store says."""
        state = _state(fields.get(STATE))
        before, self._state = self._state, state
        if state is None or before is None or state.id != before.id:
            self._own = {name: Arm() for name in ARMS}
            self._changed = False
        prefix = "" if state is None else f"{state.id}:"
        self._others = [
            _unpacked(value)
            for field, value in fields.items()
            if state is not None and field.startswith(prefix) and field != prefix + self._worker
        ]
        if state is None or state.status != RUNNING:
            self._catalog = None
        elif self._catalog is None or before is None or before.id != state.id:
            try:
                self._catalog = await asyncio.to_thread(self._load, state.files)
            except CatalogInvalid as invalid:
                log.error("the canary's catalog cannot be served here:\n%s", invalid)
                self._catalog = None

    def _load(self, files: Mapping[str, str]) -> Catalog:
        """The catalog of these files alone. Raises CatalogInvalid."""
        edits: dict[str, str | None] = dict.fromkeys(read_directory(self._directory, {})[0])
        edits.update(files)
        try:
            return self._prepared(load(self._directory, self._overrides, edits, self._allowed))
        except CatalogInvalid as invalid:
            shown = (problem.inside(self._directory) for problem in invalid.problems)
            raise CatalogInvalid(tuple(Problem(p.file, p.line, p.message) for p in shown)) from None

    def _arms(self) -> dict[str, Arm]:
        arms = {name: Arm() for name in ARMS}
        for one in (self._own, *self._others):
            for name in ARMS:
                arms[name].add(one[name])
        return arms


def _state(data: bytes | None) -> State | None:
    if data is None:
        return None
    try:
        return State.decode(data)
    except (ValueError, TypeError) as error:
        log.debug("a canary that cannot be read: %s", error)
        return None


def _packed(arms: Mapping[str, Arm]) -> bytes:
    return orjson.dumps(
        {name: {part: getattr(arm, part) for part in SUMS} for name, arm in arms.items()}
    )


def _unpacked(data: bytes) -> dict[str, Arm]:
    try:
        told = orjson.loads(data)
        return {name: Arm(**{part: float(told[name][part]) for part in SUMS}) for name in ARMS}
    except (ValueError, TypeError, KeyError) as error:
        log.debug("a canary's sums that cannot be read: %s", error)
        return {name: Arm() for name in ARMS}
