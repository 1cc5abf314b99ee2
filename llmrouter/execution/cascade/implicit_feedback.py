"""Starts a cascade higher where the caller has shown that the last answer was not good enough.

Two signs count, both without a word to us: the same user turn sent again, and a turn that says
the answer was wrong. Each starts the cascade one step above where that turn started before; the
next ordinary turn starts at the bottom again. A turn that answers a tool call belongs to the turn
before it and starts where that one did.

What a conversation shows by itself needs no memory. A turn sent again as it was (a retry, a
"regenerate") does, and is remembered only within a session: a named one, a conversation of two
turns or more, or any where the operator keeps conversations together. Two callers who open with
the same words are not one who asks twice.

It is remembered in the store, so that another worker or replica knows of it, under a hash of the
tenant, the key and the session; what is kept is hashes and numbers. Only cascades ask, and they
wait for one read; the write is behind the request. A store that fails leaves the memory of this
process, which is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

import orjson

from llmrouter.domain.chat import Caller, ChatRequest, Message
from llmrouter.domain.features import Features
from llmrouter.domain.interfaces import CatalogSource, Observer, Store
from llmrouter.domain.patterns import compile_pattern
from llmrouter.errors import StoreFailed
from llmrouter.util.tasks import Background

log = logging.getLogger(__name__)

READ_CHARACTERS = 200  # a complaint opens a turn; nothing further down makes it one

COMPLAINT = compile_pattern(
    r"\W*(?:(?:no|nope|sorry|hm+|wait|but)\b\W*)*"
    r"(?:"
    r"(?:that|this|it|your (?:answer|reply|response)|the (?:answer|result|code))"
    r"\W?(?:s| is| was| looks| seems)\W+(?:(?:still|just|simply|completely|totally|all|also)\W+)?"
    r"(?:wrong|incorrect|false|mistaken"
    r"|not (?:it\b|right|correct|true|what i (?:asked|meant|want)))"
    r"|(?:still|again|wrong|incorrect)\W+(?:wrong|incorrect|answer)"
    r"|(?:wrong|incorrect)\s*[.!,:;]"
    r"|(?:wrong|incorrect)\s*$"
    r"|you(?:\W?re| are| were)\W+(?:still\W+)?(?:wrong|mistaken)"
    r"|(?:that|this|it)\W+(?:still\W+)?(?:didn\W?t|doesn\W?t|does not|did not)"
    r"\W+(?:work|help|answer)"
    r"|(?:please\W+)?(?:try|do it) again\b"
    r"|das (?:ist|war)\W+(?:immer noch\W+)?(?:falsch|nicht richtig)"
    r"|(?:c\W?est|c\W?était)\W+(?:faux|incorrect)"
    r"|(?:eso|esto)?\W*(?:está|es)\W+(?:mal\b|incorrect)"
    r")",
    ignore_case=True,
)


@dataclass(frozen=True, slots=True)
class CascadeState:
    """Where a session's latest turn started: its hash (hex), its number, its step, when (seconds
    since the epoch), and the decision that answered it."""

    turn: str
    turns: int
    step: int
    at: float
    decision_id: str = ""

    def encode(self) -> bytes:
        """Bytes for the store."""
        return orjson.dumps([1, self.turn, self.turns, self.step, self.at, self.decision_id])

    @classmethod
    def decode(cls, data: bytes) -> CascadeState | None:
        """The value behind `data`, or None where another version or hand wrote it."""
        try:
            version, turn, turns, step, at, decision_id = orjson.loads(data)
            if version != 1:
                return None
            return cls(str(turn), int(turns), max(0, int(step)), float(at), str(decision_id))
        except (ValueError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class ImplicitFeedback:
    """A caller showed that an answer was not good enough: `signal` is `retry` or `complaint`.

    `decision_id` is of the decision that answered, "" where it is not known.
    """

    signal: str
    decision_id: str
    caller: Caller


@dataclass(frozen=True, slots=True)
class EscalationOptions:
    """`ttl_s` is how long a session is remembered; this process holds `remembered` of them, and
    waits `read_s` seconds at most for what the store knows.

    `heard` is told of every sign; it must not wait. `clock` gives seconds since the epoch.
    """

    ttl_s: float = 1800.0
    remembered: int = 4096
    read_s: float = 0.25
    heard: Callable[[ImplicitFeedback], None] = lambda _: None
    clock: Callable[[], float] = time.time


class Escalation:
    """Says how many steps above its bottom a cascade starts. Confined to one event loop."""

    def __init__(
        self,
        catalog: CatalogSource,
        observer: Observer,
        store: Store,
        background: Background,
        options: EscalationOptions | None = None,
    ) -> None:
        self._catalog = catalog
        self._observer = observer
        self._store = store
        self._background = background
        self._options = options or EscalationOptions()
        self._starts: OrderedDict[str, CascadeState] = OrderedDict()

    def __len__(self) -> int:
        return len(self._starts)

    async def __call__(
        self, request: ChatRequest, features: Features, caller: Caller, decision_id: str
    ) -> int:
        """The step for a request that is about to start a cascade: 0 is the bottom."""
        catalog = self._catalog.current
        if not catalog.cascade.escalate_on_retry:
            return 0
        whole = request.options.session is not None or catalog.sessions.enabled
        key = session_of(request, features, caller) if whole or features.turns > 1 else None
        before = None if key is None else await self._known(key)
        if features.continuation:
            return 0 if before is None else before.step
        turn = blake2b(features.text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        signal = implicit_feedback_of(request, features, before, turn)
        step = 0
        if signal is not None:
            top = max(len(catalog.cascade.order), len(catalog.targets)) - 1
            step = min((0 if before is None else before.step) + 1, top)
            self._observer.count("escalations", 1, {"signal": signal})
            self._options.heard(
                ImplicitFeedback(signal, "" if before is None else before.decision_id, caller)
            )
        if key is not None:
            self._keep(
                key, CascadeState(turn, features.turns, step, self._options.clock(), decision_id)
            )
        return step

    async def _known(self, key: str) -> CascadeState | None:
        """The latest this process or, through the store, another one knows of a session."""
        own, found = self._starts.get(key), None
        try:
            async with asyncio.timeout(self._options.read_s):
                data = await self._store.get(key)
            found = None if data is None else CascadeState.decode(data)
        except (StoreFailed, TimeoutError) as failure:
            log.warning("retries are known to this process alone for now: %r", failure)
        if own is None or (found is not None and found.at >= own.at):
            own = found
        if own is None or abs(self._options.clock() - own.at) > self._options.ttl_s:
            self._starts.pop(key, None)
            return None
        return own

    def _keep(self, key: str, start: CascadeState) -> None:
        self._starts[key] = start
        self._starts.move_to_end(key)
        if len(self._starts) > self._options.remembered:
            self._starts.popitem(last=False)
        self._background.start(self._write(key, start), "escalation")

    async def _write(self, key: str, start: CascadeState) -> None:
        try:
            await self._store.put(key, start.encode(), self._options.ttl_s)
        except StoreFailed as failure:
            log.warning("where a cascade started is known to this process alone: %s", failure)


def session_of(request: ChatRequest, features: Features, caller: Caller) -> str:
    """The store key of a session: the named one, else the conversation, of this tenant and key."""
    named = request.options.session
    session = f"conversation:{features.conversation}" if named is None else f"named:{named}"
    whose = orjson.dumps([caller.tenant, caller.name, session])
    return f"escalation:{blake2b(whose, digest_size=16).hexdigest()}"


def implicit_feedback_of(
    request: ChatRequest, features: Features, before: CascadeState | None, turn: str
) -> str | None:
    """What says that the last answer was not good enough: `retry`, `complaint`, or None."""
    if before is not None and (before.turn, before.turns) == (turn, features.turns):
        return "retry"
    if says_it_twice(request.messages):
        return "retry"
    answered = before is not None or features.turns > 1
    return "complaint" if answered and is_complaint(features.text) else None


def says_it_twice(messages: tuple[Message, ...]) -> bool:
    """Whether the last two user turns of a conversation are the same words."""
    said = [m.text.strip() for m in messages if m.role == "user"][-2:]
    return len(said) == 2 and said[0] == said[1] != ""


def is_complaint(text: str) -> bool:
    """Whether a turn opens by saying that the answer before it was wrong."""
    return COMPLAINT.match(text[:READ_CHARACTERS]) is not None
