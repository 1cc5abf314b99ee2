"""Learns preferences from live traffic: the room's front.

The parts, each in its own file: `LearningState` holds what was learned, `LabelObserver` makes
examples of events, `BackgroundTrainer` fits and follows the other workers, `Predictor` proposes.
This class passes each call to the part that answers it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import Decision, Feedback, RoutingContext, StageResult
from llmrouter.domain.interfaces import LearnedPrediction, Observer, QualityEstimate, Store
from llmrouter.learning.encoders.remote import Encoders
from llmrouter.learning.model.quality_model import QualityModel
from llmrouter.learning.online.background_trainer import BackgroundTrainer
from llmrouter.learning.online.decided_requests import DecidedRequests
from llmrouter.learning.online.label_observer import LABEL_WEIGHT, LabelObserver, request_text
from llmrouter.learning.online.learning_state import LearnerOptions, LearningState
from llmrouter.learning.online.live_costs import LiveCosts

__all__ = ["LABEL_WEIGHT", "LearnerOptions", "OnlineLearner"]


class OnlineLearner:
    """Implements the Preferences interface. Confined to one event loop."""

    def __init__(
        self,
        store: Store,
        observer: Observer,
        agreement: Callable[[], float],
        options: LearnerOptions | None = None,
        encoders: Encoders | None = None,
    ) -> None:
        options = options or LearnerOptions()
        self.state = LearningState(store, observer, agreement, options, encoders or Encoders())
        requests = DecidedRequests(options.remembered // 4, options.remembered)
        self._labels = LabelObserver(self.state, requests, observer)
        self._trainer = BackgroundTrainer(self.state, observer, options.check_s)

    @property
    def costs(self) -> LiveCosts:
        """What requests are expected to cost."""
        return self.state.costs

    @property
    def trusted(self) -> frozenset[str]:
        """The tasks that it answers alone."""
        return self.state.trust.tasks

    def public(self) -> dict[str, Any]:
        """For `/learning`: the model that serves, what it rests on, and trust task by task."""
        return self.state.public()

    async def run(self) -> None:
        """Takes over what was learned earlier, then keeps learning, until cancelled."""
        await self._trainer.run()

    async def load(self) -> bool:
        """Takes over the stored model and the examples since. Whether a model serves."""
        return await self._trainer.load()

    async def prepare(self, context: RoutingContext) -> None:
        """Has a text's vector at hand for `propose`, where an encoder has to be asked for it."""
        if self.state.space:
            wait_s = context.deadline.remaining_s()
            await self.state.encoders.prepare(request_text(context), wait_s)

    def propose(self, context: RoutingContext) -> LearnedPrediction | None:
        """What the model would choose, and whether it is trusted to. None: no model."""
        return self.state.predictor.propose(context)

    def prospects(self, context: RoutingContext) -> tuple[QualityEstimate, ...]:
        """What is expected of each eligible target; empty while nothing is learned."""
        return self.state.predictor.prospects(context)

    def observe_label(
        self, context: RoutingContext, proposal: LearnedPrediction | None, verdict: StageResult
    ) -> bool | None:
        """The router LLM's verdict on a request; whether the proposal was worth no less."""
        return self._labels.observe_label(context, proposal, verdict)

    def repeated(self, context: RoutingContext, first: StageResult, second: StageResult) -> bool:
        """The router LLM was asked again in another way; whether it agreed with itself."""
        return self._labels.repeated(context, first, second)

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """A request was decided."""
        self._labels.decided(decision, context)

    def completed(self, decision: Decision, completion: Completion) -> None:
        """An execution ended."""
        self._labels.completed(decision, completion)

    def graded(self, decision: Decision, grades: dict[str, float], weight: float) -> None:
        """Answers to a decided request were verified: grades in 0..1 by target."""
        self._labels.graded(decision, grades, weight)

    def observe_retry(self, decision_id: str, caller: str) -> None:
        """A caller asked the same again, or said that the answer was wrong."""
        self._labels.observe_retry(decision_id, caller)

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """A caller rated an answer."""
        self._labels.observe_feedback(decision, feedback)

    def lessons(self) -> list[bytes]:
        """The packed examples that the next fit reads, oldest first."""
        return self.state.packed_examples()

    def due(self) -> bool:
        """Whether enough is new for another fit."""
        return self.state.due()

    def adopt(self, model: QualityModel) -> None:
        """Serves with a model that was fitted on all `lessons` there are."""
        self.state.adopt(model)

    def stale(self) -> bool:
        """Whether trust should be computed anew."""
        return self.state.trust.stale()

    def refresh(self) -> None:
        """Computes trust anew."""
        self.state.trust.refresh()

    async def refresh_trust(self) -> None:
        """As `refresh`, in a thread."""
        await self._trainer.refresh_trust()
