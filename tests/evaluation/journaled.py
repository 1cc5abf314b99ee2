"""A store with a journal in it, written by the journal itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.domain.chat import Caller
from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.interfaces import Store
from llmrouter.features.extractor import Extractor
from llmrouter.features.fingerprint import Fingerprinter
from llmrouter.journal.journal import Journal, JournalOptions
from llmrouter.store.memory import MemoryStore
from tests.fakes import a_catalog, a_decision

APP = Caller("app")


async def journaled(
    bodies: Sequence[dict[str, Any]],
    *,
    record: bool,
    caller: Caller = APP,
    flush_each: bool = False,
    store: Store | None = None,
    **decided: Any,
) -> Store:
    """A store (in memory) that recorded these bodies as decisions `d-0`, `d-1`, … for `small`.

    `decided` replaces fields of every decision.
    """
    kept = store or MemoryStore()
    journal = Journal(kept, JournalOptions(record_prompts=record))
    extractor = Extractor(Fingerprinter(bytes(32)))
    for number, body in enumerate(bodies):
        request = parse(orjson.dumps(body), Endpoint.COMPLETE)
        features = extractor.features(request, caller)
        context = RoutingContext(request, features, a_catalog(), ("small", "large"), caller=caller)
        values = {"decision_id": f"d-{number}", "tenant": caller.tenant, **decided}
        values.setdefault("task", features.traits.task)
        values["created_at"] = 1_700_000_000.0 + number
        journal.decided(a_decision(**values), context)
        if flush_each:
            await journal.flush()
    await journal.flush()
    return kept
