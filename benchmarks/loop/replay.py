"""Replays the learning loop on recorded outcomes: does the router LLM become unnecessary?

Why it exists: the loop's promise is a claim about traffic over time: the decision cache answers
repeats, the learned model takes over what it is sure of, the router LLM decides the rest, random
audits check the model. Here all of it runs, from a cold start, on the learner that serves: it
proposes, is taught, graded and audited, and fitted when it says that a fit is due.

What it refuses: the model never sees an outcome that the service would not have: only answers that
were executed are graded. Whether a choice agreed is settled by the service's own rule (see
`learning.trust.teacher_agreement`): the same target, or worth no less by graded outcomes of this
very request.
What is known of those is the setting:

- `trials`: on that share of the router LLM's calls the model's choice runs too, before the
  comparison, and so it does on audits; that is paid for in the spend.
- without trials only the answer that served is graded, after the comparison: a choice is then known
  to be as good where the same request came before, and otherwise by its name.
- `by_name`: nothing is graded at all.

The decision cache and the router LLM are simulated.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.loop.workload import Request, RouterModel, normalised
from llmrouter.domain.catalog import Catalog, Prompts
from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.decision import Decision, Estimate, RoutingContext, Source, StageResult
from llmrouter.domain.features import Features, Traits
from llmrouter.domain.interfaces import LearnedPrediction
from llmrouter.domain.target import Latency, Price, Target
from llmrouter.evaluation.benchmark.dataset import Row
from llmrouter.evaluation.catalog_diff.replay import SILENCE
from llmrouter.features.task_classifier import measure
from llmrouter.learning.model.fit_settings import OF_TRAFFIC, FitSettings
from llmrouter.learning.model.training import fit
from llmrouter.learning.online.online_learner import LearnerOptions, OnlineLearner
from llmrouter.learning.online.training_example import TrainingExample
from llmrouter.store.memory import MemoryStore

Progress = Callable[[float], None]

TOKENS = 1000
"""What every request counts for, all of it input: a price is then one of a request."""
ANOTHER_WAY = "another order: "


@dataclass(frozen=True, slots=True)
class Loop:
    """Settings of the loop; see the module for `trials` and `by_name`.

    `explore`: share of router calls on which a random target runs too. `per_task`: trust is per
    task, as the service reads it. `learn` False leaves the decision cache alone with the router
    LLM. `learner` are the service's own settings.
    """

    target_agreement: float = 0.95
    audit_rate: float = 0.02
    trials: float = 1.0
    explore: float = 0.0
    seed: int = 0
    learn: bool = True
    by_name: bool = False
    per_task: bool = True
    learner: LearnerOptions = field(default_factory=LearnerOptions)
    settings: FitSettings = OF_TRAFFIC


@dataclass(frozen=True, slots=True)
class Served:
    """What happened to one request.

    `source` is `cache`, `learned` or `llm`. `score` of the answer served and `asked_score` of what
    the router LLM would have picked; `usd` all that was spent on it, the router LLM and comparisons
    included; `router_usd` the router's part. `agreed` (worth no less) and `same` (the same target)
    compare the model's answer with the router LLM's choice, None where the model did not answer;
    `audited` tells that the loop itself looked, `again` whether a second call was made and agreed.
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
    again: bool | None = None


class Replay:
    """One run over a stream. `prices` are USD of one request, by target."""

    def __init__(
        self, rows: Sequence[Row], prices: dict[str, float], router: RouterModel, loop: Loop
    ) -> None:
        self.targets = tuple(sorted(prices))
        self.prices = [prices[target] for target in self.targets]
        self.outcomes = np.array(
            [[row.outcomes[target] for target in self.targets] for row in rows]
        ).tolist()
        self.router, self.loop = router, loop
        self.learner = OnlineLearner(
            MemoryStore(), SILENCE, lambda: loop.target_agreement, loop.learner
        )
        self._catalog = catalog_of(prices)
        self._dice = random.Random(loop.seed)
        self._cache: dict[str, int] = {}

    def run(self, requests: Sequence[Request], progress: Progress = lambda _: None) -> list[Served]:
        """Serves every request, refitting when it is due."""
        out: list[Served] = []
        for number, request in enumerate(requests, start=1):
            out.append(self._serve(request))
            if self.loop.learn:
                self._keep_up()
            if number % 100 == 0:
                progress(number / len(requests))
        return out

    def _keep_up(self) -> None:
        """What the learner does behind requests."""
        if self.learner.due():
            lessons = [TrainingExample.from_bytes(one) for one in self.learner.lessons()]
            examples = [lesson.example() for lesson in lessons]
            self.learner.adopt(fit(examples, self.loop.settings, seed=self.loop.seed).model)
            self.learner.refresh()
        elif self.learner.stale():
            self.learner.refresh()

    def _serve(self, request: Request) -> Served:
        named = self._pick(request)
        held = self._cache.get(normalised(request.text))
        if held is not None:
            return self._served(request, "cache", held, named, {held})
        context = self._question(request)
        proposal = self.learner.propose(context) if self.loop.learn else None
        if proposal is not None and proposal.trusted:
            return self._learned(request, context, proposal, named)
        return self._asked(request, context, proposal, named)

    def _pick(self, request: Request, way: str = "") -> int:
        return self.router.pick(request, self.outcomes[request.row], self.prices, way)

    def _learned(
        self, request: Request, context: RoutingContext, proposal: LearnedPrediction, named: int
    ) -> Served:
        """The model answers; a random share is audited behind the request."""
        choice, ran = self.targets.index(proposal.target), {self.targets.index(proposal.target)}
        audited = self._dice.random() < max(self.loop.audit_rate, proposal.audit)
        if audited and self.loop.trials:
            ran.add(named)
        self._grade(request, context, ran)
        if audited:
            self.learner.observe_label(context, proposal, self._verdict(named))
        one = self._served(request, "learned", choice, named, ran, calls=int(audited))
        worth = self.outcomes[request.row]
        return replace(
            one,
            agreed=choice == named or (not self.loop.by_name and worth[choice] >= worth[named]),
            same=choice == named,
            audited=audited,
        )

    def _asked(
        self,
        request: Request,
        context: RoutingContext,
        proposal: LearnedPrediction | None,
        named: int,
    ) -> Served:
        """The router LLM decides; on a random share the model's choice runs too."""
        self._cache[normalised(request.text)] = named
        if not self.loop.learn:
            return self._served(request, "llm", named, named, {named}, calls=1)
        ran, verdict = {named}, self._verdict(named)
        if self._dice.random() < self.loop.explore:
            ran.add(self._dice.randrange(len(self.targets)))
        if proposal is not None and self._dice.random() < self.loop.trials:
            ran.add(self.targets.index(proposal.target))
        if self.loop.trials:
            self._grade(request, context, ran)
            self.learner.observe_label(context, proposal, verdict)
        else:
            self.learner.observe_label(context, proposal, verdict)
            self._grade(request, context, ran)
        again = None
        share = 0.0 if proposal is None else max(self.loop.audit_rate, proposal.again)
        if self._dice.random() < share:
            second = self._verdict(self._pick(request, ANOTHER_WAY))
            again = self.learner.repeated(context, verdict, second)
        calls = 1 if again is None else 2
        one = self._served(request, "llm", named, named, ran, calls=calls)
        return replace(one, again=again)

    def _grade(self, request: Request, context: RoutingContext, ran: set[int]) -> None:
        """What ran was verified: the outcomes recorded of it."""
        if self.loop.by_name:
            return
        worth, decision = self.outcomes[request.row], self._decision(context)
        self.learner.decided(decision, context)
        self.learner.graded(decision, {self.targets[at]: worth[at] for at in ran}, 1.0)

    def _served(
        self,
        request: Request,
        source: str,
        by: int,
        named: int,
        ran: set[int],
        *,
        calls: int = 0,
    ) -> Served:
        worth = self.outcomes[request.row]
        paid = ran if not self.loop.by_name else {by}
        return Served(
            request.kind,
            source,
            worth[by],
            worth[named],
            sum(self.prices[at] for at in paid) + calls * self.router.usd,
            calls * self.router.usd,
            self.prices[named] + self.router.usd,
        )

    def _verdict(self, named: int) -> StageResult:
        return StageResult(self.targets[named], Source.LLM, "named")

    def _question(self, request: Request) -> RoutingContext:
        text, task = request.text, measure(request.text).task if self.loop.per_task else ""
        name = normalised(text)
        features = Features(
            name, name, text, "", TOKENS, 0, frozenset(), 1, False, False,
            read_traits=lambda: Traits(task=task),
        )  # fmt: skip
        return RoutingContext(_NOTHING, features, self._catalog, self.targets)

    def _decision(self, context: RoutingContext) -> Decision:
        return Decision(
            decision_id=context.features.fingerprint,
            target=self.targets[0],
            model="",
            provider="",
            source=Source.LEARNED,
            confidence=None,
            task=context.features.traits.task,
            reason="",
            alternatives=(),
            excluded=(),
            fallbacks=(),
            estimate=Estimate(TOKENS, 0, 0.0, 0.0),
            catalog_version="",
            fingerprint=context.features.fingerprint,
            timing_ms=0.0,
        )


_NOTHING = ChatRequest(b"", {}, ())


def catalog_of(prices: dict[str, float]) -> Catalog:
    """Targets that differ in price alone: USD of one request each."""
    targets = {
        name: Target(
            id=name,
            model=name,
            provider="recorded",
            base_url="http://127.0.0.1:9/v1",
            price=Price(usd * 1e6 / TOKENS, usd * 1e6 / TOKENS),
            context_window=1_000_000,
            description="",
            latency=Latency(),
        )
        for name, usd in sorted(prices.items())
    }
    return Catalog(targets, next(iter(targets)), Prompts(router=""), version="recorded")


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
