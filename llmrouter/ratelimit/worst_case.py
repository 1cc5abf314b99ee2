"""The most a request may come to, in tokens and USD, before anything is decided.

What is reserved of a quota must cover what may be billed: the dearest target in reach for the
tokens asked, every step of a cascade with its judge, the second attempt of a hedge, the router
LLM's calls. The caller's own `max_cost_usd` plays no part in it. Where no limit on the answer is
asked for, 512 tokens are assumed, or as many as the key's longest such answer of late; what is
used beyond that is charged when the reply is out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import CHAT_WIRE, Caller, ChatRequest
from llmrouter.domain.features import answers_of, output_limit
from llmrouter.domain.parts import media_of
from llmrouter.domain.target import DIRECT, Target

BYTES_PER_TOKEN = 4
BYTES_PER_FOREIGN_TOKEN = 2
"""Of text that is not ASCII, whose characters take two to four bytes and often a token each."""
ASSUMED_OUTPUT_TOKENS = 512
_TARGET_CHARS = 300  # what the router LLM reads of a target beside its description
_QUERY_CHARS = 8000  # of a request, an answer
_INSTRUCTION_CHARS = 2000  # around the template, in each question
_ANSWER_TOKENS = 256  # of the judge
_ROUTER_TOKENS = 1500  # of the router LLM, thought included
_MOST_JUDGED = 64  # targets


def estimate_tokens(request: ChatRequest, assumed: int = ASSUMED_OUTPUT_TOKENS) -> tuple[int, int]:
    """Input and output tokens a request may use, by its size and what it asks for.

    `assumed` is the length of an answer where the request sets no limit.
    """
    document, body = request.document, request.body
    media = media_of(request)
    text = max(0, len(body) - media.encoded)
    if request.wire is not CHAT_WIRE:  # ids of tokens are shorter than what they stand for
        text = max(text, sum(len(message.text) for message in request.messages))
    given = text // BYTES_PER_TOKEN + 1 + media.tokens
    if not body.isascii():
        foreign = len(body) - len(body.decode("ascii", "ignore"))
        given += foreign // BYTES_PER_FOREIGN_TOKEN - foreign // BYTES_PER_TOKEN
    return given, (output_limit(document) or assumed) * answers_of(document)


def routing_usd(request: ChatRequest, catalog: Catalog) -> float:
    """The most that deciding may cost in USD.

    The router LLM reads the request once for each target, once for what it is about, and once more
    where it has to be asked otherwise. 0 where it is not asked: for a pinned target, a decision
    named by its id, or by strategy.
    """
    llm, options = catalog.router, request.options
    named = request.model not in (None, "auto") or options.decision_id is not None
    if llm is None or named or options.strategy in ("rules", "cascade"):
        return 0.0
    judged = catalog.enabled[:_MOST_JUDGED]
    targets = sum(len(target.description) + _TARGET_CHARS for target in judged)
    once = len(catalog.prompts.router) + min(len(request.body), _QUERY_CHARS) + _INSTRUCTION_CHARS
    read = (len(judged) + 2) * once + 2 * targets
    return (read / 3 * llm.price_input + _ROUTER_TOKENS * llm.price_output) / 1_000_000


def _judging_usd(catalog: Catalog) -> float:
    """The most that judging one answer of a cascade may cost in USD."""
    llm = catalog.cascade.judge or catalog.router
    if llm is None or not catalog.cascade.accept.judge:
        return 0.0
    read = 2 * _QUERY_CHARS + len(catalog.prompts.verifier or "")
    return (read / 3 * llm.price_input + _ANSWER_TOKENS * llm.price_output) / 1_000_000


def _may_cascade(request: ChatRequest, catalog: Catalog) -> bool:
    options = request.options
    if not catalog.cascade.order or request.model not in (None, "auto"):
        return False
    return (
        options.strategy == "cascade"
        or options.decision_id is not None
        or any(rule.strategy == "cascade" for rule in catalog.rules)
    )


class WorstCases:
    """What a request may come to at most, by the targets in one catalog that a key may reach."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._reach: dict[frozenset[str] | None, tuple[Target, ...]] = {}

    def most_usd(
        self, caller: Caller, request: ChatRequest, catalog: Catalog, size: tuple[int, int]
    ) -> float:
        """USD at the target it pins, or at the dearest it may reach; of all steps in a cascade."""
        pinned = None if request.model is None else catalog.named(request.model)
        document = request.document
        if pinned is not None:
            return _most_usd(pinned, size, document)
        reach = self._in_reach(caller.allow, catalog)
        cost = 0.0
        for target in reach:
            cost = max(cost, _most_usd(target, size, document))
        if _may_cascade(request, catalog):
            samples = max(1, catalog.cascade.accept.samples)
            steps = [target for target in reach if target.id in catalog.cascade.order]
            climbed = sum(_most_usd(target, size, document) * samples for target in steps)
            cost = max(cost, climbed + len(steps) * _judging_usd(catalog))
        elif catalog.fallback.hedge:
            cost *= 2  # the slower of two attempts may be billed as well
        return cost + routing_usd(request, catalog)

    def most_tokens(
        self, caller: Caller, request: ChatRequest, catalog: Catalog, size: tuple[int, int]
    ) -> int:
        """Tokens at the target it pins, or at the one that may write most."""
        pinned = None if request.model is None else catalog.named(request.model)
        reach = self._in_reach(caller.allow, catalog) if pinned is None else (pinned,)
        written = (_most_written(target, size[1], request.document) for target in reach)
        return size[0] + max(written, default=0)

    def _in_reach(self, allow: frozenset[str] | None, catalog: Catalog) -> tuple[Target, ...]:
        """The enabled targets, less those that another one outdoes in price and in length."""
        if catalog is not self._catalog:
            self._catalog, self._reach = catalog, {}
        found = self._reach.get(allow)
        if found is None:
            every = [t for t in catalog.enabled if allow is None or t.id in allow]
            order = catalog.cascade.order
            worth = {_worth(target): target for target in every}
            found = self._reach[allow] = tuple(
                target
                for target in every
                if target.id in order
                or (
                    worth[_worth(target)] is target
                    and not any(_outdoes(other, _worth(target)) for other in worth)
                )
            )
        return found


_Worth = tuple[float, float, int, int]


def _worth(target: Target) -> _Worth:
    longest = target.max_output or target.context_window
    return target.price.input, target.price.output, longest, _own_limit(target) or 0


def _outdoes(other: _Worth, one: _Worth) -> bool:
    return other != one and all(a >= b for a, b in zip(other, one, strict=True))


def _own_limit(target: Target) -> int | None:
    """The limit that the catalog sets on answers of a request that sets none."""
    if target.access is DIRECT:
        return None
    members = {**target.access.params, **target.access.overrides}
    limits = {"max_tokens": members.get("max_output_tokens"), **members}  # the Responses API's name
    return output_limit(limits)


def _most_written(target: Target, written: int, document: Mapping[str, Any]) -> int:
    """Output tokens of a request at a target, whose answers are no longer than it can write.

    Where the catalog limits them, the assumption about their length is not needed.
    """
    answers = answers_of(document)
    if output_limit(document) is None and (own := _own_limit(target)) is not None:
        written = own * answers
    return min(written, answers * (target.max_output or target.context_window))


def _most_usd(target: Target, size: tuple[int, int], document: Mapping[str, Any]) -> float:
    return target.price.cost(size[0], _most_written(target, size[1], document))
