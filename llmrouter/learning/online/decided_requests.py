"""The newest decided requests, for what is learned of them later: their text and who answered.

Feedback and verified answers name a decision, not its text. What is kept here is bounded, and lives
in this process's memory alone.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple, TypeVar

from llmrouter.domain.decision import Decision

Key = TypeVar("Key")
Value = TypeVar("Value")

ANSWERED = 2_000
"""Cascades whose answering target is remembered, for what callers say of it later."""


class AskedRequest(NamedTuple):
    """A request's text, and the caller behind it."""

    text: str
    caller: str


class DecidedRequests:
    """Remembers at most `texts` requests and `ratings` ratings; beyond that the oldest leave."""

    def __init__(self, texts: int, ratings: int) -> None:
        self._texts, self._ratings = texts, ratings
        self._asked: OrderedDict[str, AskedRequest] = OrderedDict()  # by fingerprint
        self._answered: OrderedDict[str, tuple[Decision, str]] = OrderedDict()  # by decision id
        self._rated: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def add(self, fingerprint: str, text: str, caller: str) -> None:
        """Keeps a request's text; equal requests share the first one's entry."""
        if fingerprint not in self._asked:
            _keep(self._asked, fingerprint, AskedRequest(text, caller), self._texts)

    def asked(self, fingerprint: str) -> AskedRequest | None:
        """The request with this fingerprint, if it is still remembered."""
        return self._asked.get(fingerprint)

    def answer(self, decision: Decision, target: str) -> None:
        """Keeps which target answered a cascade's decision."""
        _keep(self._answered, decision.decision_id, (decision, target), ANSWERED)

    def answered(self, decision_id: str) -> tuple[Decision, str] | None:
        """A cascade's decision and the target that answered it."""
        return self._answered.get(decision_id)

    def rated(self, caller: str, fingerprint: str, target: str) -> bool:
        """Whether this caller's rating of a target's answer to a request was counted before."""
        return (caller, fingerprint, target) in self._rated

    def rate(self, caller: str, fingerprint: str, target: str) -> None:
        """Counts a caller's rating."""
        _keep(self._rated, (caller, fingerprint, target), None, self._ratings)


def _keep(kept: OrderedDict[Key, Value], name: Key, value: Value, most: int) -> None:
    kept[name] = value
    if len(kept) > most:
        kept.popitem(last=False)
