"""Starts a cascade higher where the caller has shown that the last answer was not good enough.

Two signs count, both without a word to us: the same user turn sent again, and a turn that says
the answer was wrong. Each starts the cascade one step above where that turn started before; the
next ordinary turn starts at the bottom again. A turn that answers a tool call belongs to the turn
before it and starts where that one did.

What a conversation shows by itself needs no memory. A turn sent again as it was (a retry, a
"regenerate") does, and is remembered only within a session: a named one, a conversation of two
turns or more, or any where the operator keeps conversations together. Two callers who open with
the same words are not one who asks twice. Memory is bounded, per tenant and key, and holds hashes.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from llmrouter.domain.chat import Caller, ChatRequest, Message
from llmrouter.domain.features import Features
from llmrouter.domain.ports import CatalogSource, Observer

READ_CHARACTERS = 200  # a complaint opens a turn; nothing further down makes it one

COMPLAINT = re.compile(
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
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Start:
    """Where a session's latest turn started: its hash, its number, its step, when (monotonic)."""

    turn: bytes
    turns: int
    step: int
    at: float


class Escalation:
    """Says how many steps above its bottom a cascade starts. Confined to one event loop."""

    def __init__(
        self,
        catalog: CatalogSource,
        observer: Observer,
        *,
        ttl_s: float = 1800.0,
        remembered: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._observer = observer
        self._ttl_s = ttl_s
        self._remembered = remembered
        self._clock = clock
        self._starts: OrderedDict[tuple[str, str, str], Start] = OrderedDict()

    def __len__(self) -> int:
        return len(self._starts)

    def __call__(self, request: ChatRequest, features: Features, caller: Caller) -> int:
        """The step for a request that is about to start a cascade: 0 is the bottom."""
        catalog = self._catalog.current
        if not catalog.cascade.escalate_on_retry:
            return 0
        whole = request.options.session is not None or catalog.sessions.enabled
        key = session_of(request, features, caller) if whole or features.turns > 1 else None
        before = None if key is None else self._known(key)
        if features.continuation:
            return 0 if before is None else before.step
        turn = blake2b(features.text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        sign = sign_of(request, features, before, turn)
        step = 0
        if sign is not None:
            top = max(len(catalog.cascade.order), len(catalog.targets)) - 1
            step = min((0 if before is None else before.step) + 1, top)
            self._observer.count("escalations", 1, {"signal": sign})
        if key is not None:
            self._keep(key, Start(turn, features.turns, step, self._clock()))
        return step

    def _known(self, key: tuple[str, str, str]) -> Start | None:
        start = self._starts.get(key)
        if start is not None and self._clock() - start.at > self._ttl_s:
            del self._starts[key]
            return None
        return start

    def _keep(self, key: tuple[str, str, str], start: Start) -> None:
        self._starts[key] = start
        self._starts.move_to_end(key)
        if len(self._starts) > self._remembered:
            self._starts.popitem(last=False)


def session_of(request: ChatRequest, features: Features, caller: Caller) -> tuple[str, str, str]:
    """Whose session it is, and which: the named one, else the conversation."""
    named = request.options.session
    session = f"conversation:{features.conversation}" if named is None else f"named:{named}"
    return caller.tenant, caller.name, session


def sign_of(
    request: ChatRequest, features: Features, before: Start | None, turn: bytes
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
