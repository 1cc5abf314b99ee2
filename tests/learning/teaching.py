"""A learner on a store, taught by a stage that never errs: what several test files work with."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from hashlib import blake2b
from typing import Any

from llmrouter.domain.chat import Caller
from llmrouter.domain.decision import Feedback, RoutingContext, Source, StageResult
from llmrouter.domain.features import Features, Traits
from llmrouter.learning.model.mlp import NetworkSettings
from llmrouter.learning.model.training import FitSettings, fit
from llmrouter.learning.online.example_buffer import CAPS
from llmrouter.learning.online.online_learner import LearnerOptions, OnlineLearner
from llmrouter.learning.online.training_example import ExampleKind, TrainingExample
from llmrouter.store.memory import MemoryStore
from tests.fakes import RecordingObserver, a_catalog, a_decision, a_request

SUMS = ("What is {} plus {}?", "Add {} to {}.", "Compute {} times {}, please.")
POEMS = ("Write a poem about {} and {}.", "A haiku on {} with {}.", "Sing of {} and of {}!")
KEY_LEAST = CAPS[ExampleKind.WORD].least
SMALL = FitSettings(
    width=16, vocabulary=500, trees=8, lists=8, capacity=8000, folds=2,
    network=NetworkSettings(members=1, hidden=16, epochs=20),
)  # fmt: skip
NEVER_FITS = LearnerOptions(first_fit=10**6, check_s=0.01, refresh=60)
QUICK = LearnerOptions(first_fit=120, check_s=0.01, refresh=60)


def context(text: str, task: str, key: str = "anonymous") -> RoutingContext:
    """A question of a task to small and large."""
    features = Features(
        blake2b(text.encode(), digest_size=16).hexdigest(), "c" * 32, text, "", 20, 50,
        frozenset(), 1, False, False, read_traits=lambda: Traits(task=task),
    )  # fmt: skip
    caller = Caller(key)
    return RoutingContext(a_request(text), features, a_catalog(), ("small", "large"), caller=caller)


def asked(
    number: int, dice: random.Random, key: str = "anonymous"
) -> tuple[RoutingContext, StageResult]:
    """Sums are for small, poems for large."""
    texts, task, target = ((SUMS, "math", "small"), (POEMS, "writing", "large"))[number % 2]
    text = dice.choice(texts).format(dice.randrange(90), dice.randrange(90))
    return context(text, task, key), StageResult(target, Source.LLM, "said so", task=task)


class Bench:
    """A learner on a store, taught by a stage that never errs."""

    def __init__(self, store: MemoryStore | None = None, **over: Any) -> None:
        self.store = MemoryStore() if store is None else store
        self.observer = RecordingObserver()
        self.agreement = 0.8
        self.learner = OnlineLearner(
            self.store, self.observer, lambda: self.agreement, over.get("options", QUICK)
        )
        self.dice = random.Random(7)
        self.agreed = 0

    def teach(self, count: int, wrong: bool = False, key: str = "anonymous") -> int:
        """Lessons as the preference stage gives them; how many proposals agreed."""
        agreed = 0
        for number in range(count):
            about, verdict = asked(number, self.dice, key)
            if wrong:
                other = "large" if verdict.target == "small" else "small"
                verdict = StageResult(other, Source.LLM, "changed its mind", task=verdict.task)
            proposal = self.learner.propose(about)
            agreed += proposal is not None and proposal.target == verdict.target
            self.learner.observe_label(about, proposal, verdict)
        return agreed

    def record_feedback(self, number: int, key: str, score: float = -1.0, **over: Any) -> None:
        """One rating of a decision that had been noted."""
        about, verdict = asked(2 * number, self.dice)
        decision = a_decision(
            verdict.target, decision_id=f"d-{number}", task="math", fingerprint=f"{number:032d}"
        )
        self.learner.decided(decision, about)
        self.learner.observe_feedback(
            decision, Feedback(decision.decision_id, score, caller=key, **over)
        )

    def fit(self) -> None:
        """A fit that is due, here and now and small, where another process would do it."""
        examples = [TrainingExample.from_bytes(one).example() for one in self.learner.lessons()]
        self.learner.adopt(fit(examples, SMALL).model)
        self.learner.refresh()

    def choices(self, count: int, seed: int = 1) -> list[tuple[str, str]]:
        """What is proposed for fresh sums and poems beside what is right."""
        dice, out = random.Random(seed), []
        for number in range(count):
            about, verdict = asked(number, dice)
            proposal = self.learner.propose(about)
            out.append(("" if proposal is None else proposal.target, verdict.target))
        return out

    def counted(self, name: str) -> int:
        """How often something was counted."""
        return sum(1 for counted, _, _ in self.observer.counts if counted == name)


@contextlib.asynccontextmanager
async def running(learner: OnlineLearner) -> AsyncIterator[None]:
    """The learner's loop, ended afterwards as the service ends it."""
    task = asyncio.ensure_future(learner.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], object]) -> None:
    """Wait for something that the loop does behind."""
    async with asyncio.timeout(240):
        while not holds():  # noqa: ASYNC110 - the loop under test has no event to wait for
            await asyncio.sleep(0.01)


def trusted(bench: Bench, text: str) -> bool:
    """Whether a sum would be answered."""
    proposal = bench.learner.propose(context(text, "math"))
    return proposal is not None and proposal.trusted
