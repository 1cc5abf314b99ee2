"""Remembers decisions, so that one can be executed, rated and looked up by its id.

A decision costs microseconds, so writing each to disk would cost more than making it. Decisions
are kept in memory and written in chunks behind the requests; an id names its chunk, so any worker
that shares the store finds any decision with one read. What a neighbour made a moment ago may
still be in its buffer: a miss is therefore looked up once more after the flush interval.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from llmrouter.domain.decision import Decision
from llmrouter.domain.interfaces import Store
from llmrouter.errors import StoreFailed
from llmrouter.util.tasks import repeatedly

log = logging.getLogger(__name__)

FEW: int = 8
"""Decisions of a chunk beyond which they are decoded in a thread."""
Encode = Callable[[Decision], bytes]
Decode = Callable[[bytes], Decision]


@dataclass(frozen=True, slots=True)
class DecisionLogOptions:
    """How much is kept: `remembered` decisions in memory, every one in the store for `ttl_s`."""

    remembered: int = 1_000
    ttl_s: float = 86_400.0
    flush_s: float = 0.2
    chunk: int = 2_000


class DecisionLog:
    """This worker's decisions in memory, everyone's in the store."""

    def __init__(
        self,
        store: Store,
        encode: Encode,
        decode: Decode,
        options: DecisionLogOptions | None = None,
    ) -> None:
        self._store = store
        self._encode = encode
        self._decode = decode
        self._options = options or DecisionLogOptions()
        self._recent: OrderedDict[str, Decision] = OrderedDict()
        self._unwritten: list[Decision] = []
        self._chunk = secrets.token_hex(6)
        self._number = 0

    def new_id(self) -> str:
        """An id for a decision about to be made: its chunk, then its place there."""
        self._number += 1
        return f"dec_{self._chunk}_{self._number}"

    def remember(self, decision: Decision) -> None:
        """Keep a decision. Never waits."""
        recent = self._recent
        recent[decision.decision_id] = decision
        if len(recent) > self._options.remembered:
            recent.popitem(last=False)
        if len(self._unwritten) < self._options.chunk * 8:
            self._unwritten.append(decision)

    async def find(self, decision_id: str, tenant: str | None) -> Decision | None:
        """The tenant's decision, or None. Another tenant's is as absent as one never made.

        A tenant of None finds every tenant's.
        """
        decision = self._recent.get(decision_id)
        if decision is None and _well_formed(decision_id):
            decision = await self._read(decision_id)
            if decision is None:
                await asyncio.sleep(self._options.flush_s * 1.5)
                decision = await self._read(decision_id)
        if decision is None or tenant not in (None, decision.tenant):
            return None
        return decision

    async def find_all(self, ids: Sequence[str], tenant: str | None) -> dict[str, Decision]:
        """Those of a tenant (None: everyone's) that are known now, by id; each chunk is read once.

        Decisions that another worker has not written yet are left out.
        """
        found = {name: self._recent[name] for name in ids if name in self._recent}
        chunks: dict[str, set[str]] = {}
        for name in ids:
            if name not in found and _well_formed(name):
                chunks.setdefault(self._place(name), set()).add(name)
        for place, wanted in chunks.items():
            found.update(await self._read_chunk(place, wanted))
        return {
            name: found[name]
            for name in ids
            if name in found and tenant in (None, found[name].tenant)
        }

    def recent(self, limit: int, tenant: str | None) -> list[Decision]:
        """The tenant's (None: everyone's) newest decisions of this worker, newest first."""
        found: list[Decision] = []
        for decision in reversed(self._recent.values()):
            if len(found) >= limit:
                break
            if tenant in (None, decision.tenant):
                found.append(decision)
        return found

    async def run(self) -> None:
        """Write chunks until cancelled, then once more."""
        await repeatedly(self.flush, self._options.flush_s)

    async def flush(self) -> None:
        """Write what is not written yet. A store that is down loses the chunk, and says so."""
        if not self._unwritten:
            return
        decisions, self._unwritten = self._unwritten, []
        chunk, self._chunk, self._number = self._chunk, secrets.token_hex(6), 0
        for number, start in enumerate(range(0, len(decisions), self._options.chunk)):
            part = decisions[start : start + self._options.chunk]
            packed = await asyncio.to_thread(self._pack, part)
            try:
                await self._store.put(f"decisions:{chunk}:{number}", packed, self._options.ttl_s)
            except StoreFailed as failure:
                log.warning("%d decisions not kept: %s", len(part), failure)

    def _pack(self, decisions: list[Decision]) -> bytes:
        return b"\n".join([self._encode(decision) for decision in decisions])

    def _place(self, decision_id: str) -> str:
        _, chunk, number = decision_id.split("_")
        return f"decisions:{chunk}:{(int(number) - 1) // self._options.chunk}"

    async def _read(self, decision_id: str) -> Decision | None:
        found = await self._read_chunk(self._place(decision_id), {decision_id})
        return found.get(decision_id)

    async def _read_chunk(self, place: str, wanted: Collection[str]) -> dict[str, Decision]:
        """The wanted decisions of a chunk, by id. A store that is down holds none."""
        try:
            packed = await self._store.get(place)
            if packed is None:
                return {}
            if len(wanted) > FEW:
                return await asyncio.to_thread(self._unpack, packed, wanted)
            return self._unpack(packed, wanted)
        except StoreFailed as failure:
            log.warning("decision not read: %s", failure)
        except ValueError as error:
            log.warning("decision not understood: %s", error)
        return {}

    def _unpack(self, packed: bytes, wanted: Collection[str]) -> dict[str, Decision]:
        """Those of a chunk's lines that are wanted. Raises ValueError."""
        found = {}
        for line in packed.split(b"\n"):
            parts = line.split(b'"', 4)  # ["decision",<version>,"<id>",...
            if len(parts) == 5 and (name := parts[3].decode("ascii", "replace")) in wanted:
                found[name] = self._decode(line)
        return found


def _well_formed(decision_id: str) -> bool:
    parts = decision_id.split("_")
    return (
        len(parts) == 3
        and parts[0] == "dec"
        and len(parts[1]) == 12
        and parts[1].isalnum()
        and 0 < len(parts[2]) < 12
        and parts[2].isascii()
        and parts[2].isdigit()
    )
