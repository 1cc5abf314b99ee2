"""A request as the router sees it, whatever wire format it came in.

The body stays what the caller sent: `body` is relayed. `document` is a chat-completions document:
its one parse, or what another format's parse made of it. Nothing here is written back into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from llmrouter.domain.quick import quick

LONG_BODY: Final = 128 * 1024
"""Bytes from which on a body is parsed, measured and rewritten in a thread, off the event loop."""

Strategy = Literal["auto", "rules", "learned", "llm", "cascade"]
CacheMode = Literal["use", "refresh", "off"]
STRATEGIES: frozenset[str] = frozenset({"auto", "rules", "learned", "llm", "cascade"})
CACHE_MODES: frozenset[str] = frozenset({"use", "refresh", "off"})


@dataclass(frozen=True, slots=True)
class RouterOptions:
    """The optional `router` object of a request. `None` means the caller did not say.

    `latency_budget_ms` covers the whole request, `max_cost_usd` one completion, `quality` runs
    from 0 (cheapest) to 1 (best).
    """

    tier: str | None = None
    latency_budget_ms: float | None = None
    max_cost_usd: float | None = None
    quality: float | None = None
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    task: str | None = None
    session: str | None = None
    strategy: Strategy = "auto"
    cache: CacheMode = "use"
    decision_id: str | None = None


NO_OPTIONS = RouterOptions()


@quick
@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `text` joins its text parts; `parts` counts the others by kind (image_url, …)."""

    role: str
    text: str
    parts: Mapping[str, int] = field(default_factory=dict)
    calls_tools: bool = False


@dataclass(frozen=True, slots=True)
class WireFacts:
    """What is known of a request by its wire format.

    `protocol` names the format. `needs` are capabilities that a target must have for reasons that
    the document does not show; the format's own name is one where no other format can carry the
    request. `losses` is what a translation drops. `session` is the caller's own name for the
    conversation. `signed`: the history holds reasoning that only the model that wrote it accepts;
    `foreign`: reasoning that no provider accepts. `headers` go to targets of the same format.
    `members` are those of the caller's body that its answer may repeat.
    """

    protocol: str = "openai-chat"
    needs: frozenset[str] = frozenset()
    losses: tuple[str, ...] = ()
    session: str | None = None
    signed: bool = False
    foreign: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)


CHAT_WIRE = WireFacts()


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of a key's spend quota for one request, held for it.

    `returns_in_s` is when enough for the dearest target in reach is there again (seconds).
    """

    left_usd: float
    returns_in_s: float


@quick
@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A parsed, valid request.

    `body` is what arrived, byte for byte; `document` is its parse and must not be mutated. `wire`
    holds what its format adds.
    `model` is None for `/route` and `/complete` bodies that leave it to the router, `"auto"` or a
    target's id on `/v1/chat/completions`. A bare `prompt` arrives as one user message and sets
    `bare_prompt`, so that the relay knows it must write the messages itself. `kept` says that the
    same bytes yield this very object again, so that what is worked out from it is worth keeping.
    `budget` is set where the caller's quota holds less than the request may cost.
    """

    body: bytes
    document: Mapping[str, Any]
    messages: tuple[Message, ...]
    options: RouterOptions = NO_OPTIONS
    model: str | None = None
    stream: bool = False
    bare_prompt: bool = False
    kept: bool = field(default=False, compare=False)
    wire: WireFacts = CHAT_WIRE
    budget: Budget | None = None

    @property
    def limit_usd(self) -> float | None:
        """The most it may cost: what the caller says, or what is left of its budget."""
        asked = self.options.max_cost_usd
        if self.budget is None:
            return asked
        left = self.budget.left_usd
        return left if asked is None else min(asked, left)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `tenant` is the namespace of decisions, sessions and cached entries ("" shared).

    `allow` limits the targets this key may reach (None: all); `tier` comes from the key and wins
    over what the request says.
    """

    name: str = "anonymous"
    tier: str | None = None
    tenant: str = ""
    allow: frozenset[str] | None = None
    admin: bool = False

    @property
    def sees(self) -> str | None:
        """Whose decisions it may see: its tenant's; None, with the admin key, is everyone's."""
        return None if self.admin else self.tenant


ANONYMOUS = Caller()
