"""Replays the learning loop on recorded outcomes: does the router LLM become unnecessary?

Why it exists: the loop's promise is a claim about traffic over time: the decision cache answers
repeats, the learned model takes over what it is sure of, the router LLM decides the rest, random
audits check the model. Here all of it runs, from a cold start, with the learning code that ships.

What it refuses: the model never sees an outcome that the service would not have: only answers that
were executed are graded. "Agreed" means that the model's choice was worth no less than the router
LLM's choice by graded outcome; naming the same target is reported beside it. To know it, both
choices must run, which happens on audits and on a random `trials` share of router calls, and is
paid for in the spend. The live service runs one target a request, so it can only compare names:
`by_name` replays exactly that, with the router LLM's picks as the only labels.

Confidence, trust and its windows are the service's own (`learning.trust`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llmrouter.evaluation.dataset import Row
from llmrouter.evaluation.workload import Request, RouterModel, normalised
from llmrouter.learning.calibration import Windows
from llmrouter.learning.choice import burden, choose
from llmrouter.learning.encoders import Encoded
from llmrouter.learning.fit import FitSettings, fit
from llmrouter.learning.learner import LABEL_WEIGHT
from llmrouter.learning.model import Example, PreferenceModel
from llmrouter.learning.trust import Comparison, Facts, Trust, facts
from llmrouter.signals.traits import measure

Progress = Callable[[float], None]

GOOD = 0.5
VOTE = 0.5
"""Weight of what the router LLM's pick, where its answer was good (`GOOD` or more), says about the
other targets: that they were not needed. A graded outcome weighs 1."""


@dataclass(frozen=True, slots=True)
class Loop:
    """Settings of the loop. `refits`: after how many requests the model is fitted again.

    `trials`: share of router calls on which the model's own choice runs too, to be compared.
    `explore`: share on which a random target runs too. Trust is recomputed after `refresh`
    comparisons, and per task, as the service reads it, where `per_task`. `by_name`: the picks are
    the labels, nothing is graded, and agreeing is naming the same target. `learn` False leaves the
    decision cache alone with the router LLM.
    """

    target_agreement: float = 0.95
    audit_rate: float = 0.02
    trials: float = 1.0
    explore: float = 0.0
    quality: float = 0.8
    refits: tuple[int, ...] = (300, 600, 1000, 1500, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000)
    refresh: int = 100
    seed: int = 0
    learn: bool = True
    by_name: bool = False
    per_task: bool = True
    settings: FitSettings = field(default_factory=FitSettings)


@dataclass(frozen=True, slots=True)
class Served:
    """What happened to one request.

    `source` is `cache`, `learned` or `llm`. `score` of the answer served and `asked_score` of what
    the router LLM would have picked; `usd` all that was spent on it, the router LLM and comparisons
    included; `router_usd` the router's part. `agreed`, `same` compare the model's choice with the
    router LLM's, None where the model did not answer; `audited` tells that the loop itself knows.
    """

    kind: str
    source: str
    score: float
    asked_score: float
    usd: float
    router_usd: float
    asked_usd: float
    agreed: bool | None = None
    same: bool | None = None
    audited: bool = False


@dataclass(frozen=True, slots=True)
class _Opinion:
    choice: int
    facts: Facts
    confidence: float
    encoded: Encoded
    task: str


@dataclass
class _State:
    cache: dict[str, int] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)
    compared: int = 0
    model: PreferenceModel | None = None


class Replay:
    """One run over a stream. `prices` [T] are USD of one request, in the order of `targets`."""

    def __init__(
        self, rows: Sequence[Row], prices: dict[str, float], router: RouterModel, loop: Loop
    ) -> None:
        self.targets = tuple(sorted(prices))
        self.prices = np.array([prices[target] for target in self.targets])
        self.outcomes = np.array(
            [[row.outcomes[target] for target in self.targets] for row in rows]
        )
        self.router, self.loop = router, loop
        self.trust = Trust(Windows(loop.target_agreement))
        self._burdens = burden(self.prices)
        self._dice = random.Random(loop.seed)  # noqa: S311 - a simulation, not a secret
        self._state = _State()

    def run(self, requests: Sequence[Request], progress: Progress = lambda _: None) -> list[Served]:
        """Serves every request, refitting on schedule."""
        out: list[Served] = []
        for number, request in enumerate(requests, start=1):
            out.append(self._serve(request))
            if self.loop.learn and number in self.loop.refits:
                self._refit()
            if number % 100 == 0:
                progress(number / len(requests))
        return out

    def _serve(self, request: Request) -> Served:
        outcomes = self.outcomes[request.row]
        named = self.router.pick(request, outcomes.tolist(), self.prices.tolist())
        asked = float(outcomes[named])
        asked_usd = float(self.prices[named]) + self.router.usd
        key = normalised(request.text)
        held = self._state.cache.get(key)
        if held is not None:
            score, usd = float(outcomes[held]), float(self.prices[held])
            return Served(request.kind, "cache", score, asked, usd, 0.0, asked_usd)
        opinion = self._opinion(request)
        if opinion is not None and self.trust.trusts(opinion.task, opinion.confidence):
            return self._learned(request, opinion, named, asked_usd)
        return self._asked(request, opinion, named, key, asked_usd)

    def _learned(self, request: Request, opinion: _Opinion, named: int, asked_usd: float) -> Served:
        """The model answers; a random share is audited behind the request."""
        outcomes, choice = self.outcomes[request.row], opinion.choice
        usd, router_usd = float(self.prices[choice]), 0.0
        agreed = self._agrees(choice, named, outcomes)
        share = max(self.loop.audit_rate, self.trust.windows.audit_share(opinion.task))
        audited = self._dice.random() < share
        if audited:
            router_usd = self.router.usd
            both = named != choice and not self.loop.by_name
            usd += router_usd + (float(self.prices[named]) if both else 0.0)
            self._observe(opinion, agreed, audited=True)
            self._learn(request.text, opinion.encoded, named, {named, choice}, outcomes)
        elif not self.loop.by_name:
            self._graded(request.text, opinion.encoded, choice, float(outcomes[choice]))
        return Served(
            kind=request.kind,
            source="learned",
            score=float(outcomes[choice]),
            asked_score=float(outcomes[named]),
            usd=usd,
            router_usd=router_usd,
            asked_usd=asked_usd,
            agreed=agreed,
            same=choice == named,
            audited=audited,
        )

    def _asked(
        self, request: Request, opinion: _Opinion | None, named: int, key: str, asked_usd: float
    ) -> Served:
        """The router LLM decides; on a random share the model's choice runs too."""
        outcomes = self.outcomes[request.row]
        ran = {named}
        if self.loop.learn and self._dice.random() < self.loop.explore:
            ran.add(self._dice.randrange(len(self.targets)))
        if opinion is not None and self.loop.by_name:
            self._observe(opinion, opinion.choice == named, audited=False)
        elif opinion is not None and self._dice.random() < self.loop.trials:
            ran.add(opinion.choice)
            self._observe(opinion, self._agrees(opinion.choice, named, outcomes), audited=False)
        self._state.cache[key] = named
        if self.loop.learn:
            encoded = opinion.encoded if opinion is not None else None
            self._learn(request.text, encoded, named, ran, outcomes)
        usd = asked_usd + sum(float(self.prices[index]) for index in ran - {named})
        score = float(outcomes[named])
        return Served(request.kind, "llm", score, score, usd, self.router.usd, asked_usd)

    def _agrees(self, choice: int, named: int, outcomes: NDArray[np.float64]) -> bool:
        if self.loop.by_name:
            return choice == named
        return bool(outcomes[choice] >= outcomes[named] - 1e-9)

    def _opinion(self, request: Request) -> _Opinion | None:
        model = self._state.model
        if model is None:
            return None
        encoded = model.encode(request.text)
        found = model.estimate(encoded, self.targets)
        wish = 1.0 if self.loop.by_name else self.loop.quality
        picked = choose(found.quality, self._burdens, wish)
        known = facts(found, picked)
        confidence = self.trust.confidence(known)
        task = measure(request.text).task if self.loop.per_task else ""
        return _Opinion(picked.index, known, confidence, encoded, task)

    def _observe(self, opinion: _Opinion, agreed: bool, *, audited: bool) -> None:
        self.trust.observe(Comparison(opinion.task, opinion.facts, agreed, audited))
        self._state.compared += 1
        if self._state.compared >= self.loop.refresh:
            self._state.compared = 0
            self.trust = self.trust.refresh()

    def _learn(
        self,
        text: str,
        encoded: Encoded | None,
        named: int,
        ran: set[int],
        outcomes: NDArray[np.float64],
    ) -> None:
        """Graded outcomes of what ran, and what the router LLM's pick says of the others."""
        if self.loop.by_name:
            self._labelled(text, encoded, named)
            return
        grades = {self.targets[index]: float(outcomes[index]) for index in ran}
        weights = dict.fromkeys(grades, 1.0)
        votes = {
            target: 0.0
            for index, target in enumerate(self.targets)
            if index not in ran and outcomes[named] >= GOOD
        }
        self._state.examples.append(
            Example(text, grades | votes, weights | dict.fromkeys(votes, VOTE))
        )
        if self._state.model is not None and encoded is not None:
            self._state.model.remember(encoded, grades)
            if votes:
                self._state.model.remember(encoded, votes, VOTE)

    def _graded(self, text: str, encoded: Encoded, choice: int, outcome: float) -> None:
        """The graded outcome of the model's own choice."""
        grades = {self.targets[choice]: outcome}
        self._state.examples.append(Example(text, grades))
        if self._state.model is not None:
            self._state.model.remember(encoded, grades)

    def _labelled(self, text: str, encoded: Encoded | None, named: int) -> None:
        """As the service learns it: the pick satisfies, the others were not needed."""
        labels = {target: float(index == named) for index, target in enumerate(self.targets)}
        self._state.examples.append(Example(text, labels, LABEL_WEIGHT))
        if self._state.model is not None and encoded is not None:
            self._state.model.remember(encoded, labels, LABEL_WEIGHT)

    def _refit(self) -> None:
        self._state.model = fit(self._state.examples, self.loop.settings, seed=self.loop.seed).model
        self._state.compared = 0
        self.trust = self.trust.refresh()


@dataclass(frozen=True, slots=True)
class Window:
    """Figures of consecutive requests up to request `end`; shares and means are of this window.

    `by_kind` is the share of each kind that needed the router LLM. `agreement` and `same` are over
    all answers of the model, `audited_agreement` over the audited ones (None without any).
    """

    end: int
    needed: float
    audits: float
    learned: float
    cached: float
    by_kind: dict[str, float]
    kinds: dict[str, float]
    agreement: float | None
    same: float | None
    audited_agreement: float | None
    audited: int
    score: float
    asked_score: float
    usd: float
    router_usd: float
    asked_usd: float


def windows(served: Sequence[Served], size: int) -> list[Window]:
    """Cuts a run into windows of `size` requests."""
    return [
        summary(served[start : start + size], min(start + size, len(served)))
        for start in range(0, len(served), size)
    ]


def summary(part: Sequence[Served], end: int) -> Window:
    """The figures of one part of a run that ends at request `end`."""
    answered = [one for one in part if one.source == "learned"]
    audited = [one for one in answered if one.audited]
    count = max(len(part), 1)
    kinds = {kind: [one for one in part if one.kind == kind] for kind in ("new", "near", "repeat")}

    def share(some: Sequence[Served], of: Callable[[Served], object]) -> float | None:
        return sum(bool(of(one)) for one in some) / len(some) if some else None

    def mean(of: Callable[[Served], float]) -> float:
        return sum(of(one) for one in part) / count

    return Window(
        end=end,
        needed=share(part, lambda one: one.source == "llm") or 0.0,
        audits=len(audited) / count,
        learned=len(answered) / count,
        cached=share(part, lambda one: one.source == "cache") or 0.0,
        by_kind={
            kind: share(some, lambda one: one.source == "llm") or 0.0
            for kind, some in kinds.items()
        },
        kinds={kind: len(some) / count for kind, some in kinds.items()},
        agreement=share(answered, lambda one: one.agreed),
        same=share(answered, lambda one: one.same),
        audited_agreement=share(audited, lambda one: one.agreed),
        audited=len(audited),
        score=mean(lambda one: one.score),
        asked_score=mean(lambda one: one.asked_score),
        usd=mean(lambda one: one.usd),
        router_usd=mean(lambda one: one.router_usd),
        asked_usd=mean(lambda one: one.asked_usd),
    )
