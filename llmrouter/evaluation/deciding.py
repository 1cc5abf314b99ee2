"""One catalog, deciding recorded requests as the service would, without a router LLM.

Why it exists: what an edit changes is found by deciding the same requests under both catalogs, with
the gateway's own screening and the service's own stages. What was decided then stands in the router
LLM's place.

What it refuses: to execute, to learn, to keep. Everyone is taken to be well, and a request without
its text is never shown to what reads words.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmrouter.domain.background import Background
from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.deadline import NEVER
from llmrouter.domain.decision import Decision, Question, Source, Verdict
from llmrouter.domain.features import Features
from llmrouter.domain.ports import Preferences, Stage
from llmrouter.errors import LLMRouterError
from llmrouter.evaluation.recorded import Past
from llmrouter.gateway import Gateway, Rooms, decision_of, is_pinned
from llmrouter.routing.default import Default
from llmrouter.routing.eligibility import Demand, Eligibility
from llmrouter.routing.preference import Behind, LearnedOnly, Preference
from llmrouter.routing.router import Router, Ruling
from llmrouter.routing.rules import Rules, StartCascade
from llmrouter.upstream.health import TargetHealth

NOBODY: Any = None  # nothing is executed, kept or told, and who decides depends on the request


class Silence:
    """Stands where an observer would: a replay is no traffic and counts nowhere."""

    def count(self, name: str, value: float, attributes: Mapping[str, str]) -> None:
        """Nothing."""


SILENCE: Any = Silence()


@dataclass(frozen=True, slots=True)
class Ruled:
    """One request under one catalog: the decision, or why it is refused; who was eligible."""

    decision: Decision | None
    refused: LLMRouterError | None
    eligible: tuple[str, ...]
    excluded: Mapping[str, str]


class Told:
    """What the gateway's rooms are told of recorded requests: features, and the decision then."""

    name = "recorded"

    def __init__(self, pasts: Iterable[Past]) -> None:
        self._pasts = {past.name: past for past in pasts}

    def features(self, request: ChatRequest, caller: Caller) -> Features:
        """The features, measured when the journal was read."""
        return self._of(request).features

    async def decide(self, question: Question) -> Verdict | None:
        """The target of then; None where it is not eligible or where its reason is gone.

        What the default decided says nothing, and what a rule decided holds only as long as there
        is a rule: without the text, one whose pattern cannot be tried may be it.
        """
        past = self._of(question.request)
        if past.target not in question.eligible or past.source == Source.DEFAULT:
            return None
        if past.source == Source.RULES and not _may_be_a_pattern(question.catalog, past):
            return None
        reason = f"as recorded ({past.source})"
        return Verdict(past.target, Source.CACHE, reason, past.confidence, past.task)

    def _of(self, request: ChatRequest) -> Past:
        return self._pasts[request.options.decision_id or ""]


def _may_be_a_pattern(catalog: Catalog, past: Past) -> bool:
    return past.text is None and any(
        rule.when.matches is not None and rule.route in (None, past.target)
        for rule in catalog.rules
    )


class Blind:
    """Rules without those that need words: a pattern has nothing to try without the text."""

    name = "rules"

    def __init__(self) -> None:
        self._rules = Rules()

    async def decide(self, question: Question) -> Verdict | None:
        """As the rules' stage."""
        catalog = question.catalog
        readable = tuple(rule for rule in catalog.rules if rule.when.matches is None)
        return await self._rules.decide(replace(question, catalog=replace(catalog, rules=readable)))


class Side:
    """One catalog, deciding recorded requests."""

    def __init__(self, catalog: Catalog, told: Told, preferences: Preferences | None) -> None:
        self._catalog = catalog
        self._eligibility = Eligibility()
        self._routers = {
            True: _router(Rules(), told, preferences),
            False: _router(Blind(), told, None),
        }
        self._gateway = Gateway(
            Rooms(
                catalog=self,
                measure=told,
                router=NOBODY,
                executor=NOBODY,
                ledger=NOBODY,
                health=TargetHealth(),
                observer=NOBODY,
                journal=NOBODY,
            )
        )

    @property
    def current(self) -> Catalog:
        """The one catalog."""
        return self._catalog

    async def rule(self, past: Past) -> Ruled:
        """What would be decided."""
        demand = Demand(past.request.options, past.features, past.caller)
        screening = self._eligibility.screen(self._catalog, demand)
        excluded = {one.target: one.reason for one in screening.excluded}
        try:
            question = self._gateway.question(past.request, past.caller, NEVER)
        except LLMRouterError as refused:
            return Ruled(None, refused, screening.eligible, excluded)
        if is_pinned(past.request):
            ruling = Ruling(
                Verdict(question.eligible[0], Source.PINNED, "the request names it"), ()
            )
        else:
            ruling = await self._routers[past.text is not None].decide(question)
        decision = decision_of(ruling, question, past.name, time.perf_counter())
        return Ruled(decision, None, screening.eligible, excluded)


def _router(rules: Stage, told: Told, preferences: Preferences | None) -> Router:
    """The stages of every strategy, with the recorded decision in the router LLM's place."""
    known: Stage = told
    only: tuple[Stage, ...] = ()
    if preferences is not None:
        unaudited = Behind(Background(), chance=lambda: 1.0)
        known = Preference(preferences, told, unaudited)
        only = (LearnedOnly(preferences),)
    pipelines: dict[str, tuple[Stage, ...]] = {
        "auto": (rules, known),
        "rules": (rules,),
        "learned": only,
        "llm": (told,),
        "cascade": (StartCascade(),),
    }
    return Router(pipelines, SILENCE, Default())
