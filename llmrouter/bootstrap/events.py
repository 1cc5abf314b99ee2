"""Who is told of decisions, outcomes and feedback. All of them only note what they are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmrouter.catalog.canary.live_canary import LiveCanary
from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import Audit, Decision, Feedback, RoutingContext
from llmrouter.execution.cascade.confidence_store import StoredRecord
from llmrouter.execution.cascade.implicit_feedback import (
    ImplicitFeedback,
)
from llmrouter.journal.journal import Journal
from llmrouter.journal.stories import Stories
from llmrouter.judging.outcomes import StoredOutcomes
from llmrouter.learning.online.online_learner import OnlineLearner
from llmrouter.learning.online.outcome_labels import outcomes
from llmrouter.routing.worth import Worth
from llmrouter.usage.store import UsageStore


class JudgingRecord:
    """Has calibration and the accounts of asking know what was decided and what came of it."""

    def __init__(self, judged: StoredOutcomes, worth: Worth) -> None:
        self._judged = judged
        self._worth = worth

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """An answer will cost what was estimated."""
        self._worth.decided(decision.estimate.cost_usd)

    def completed(self, decision: Decision, completion: Completion) -> None:
        """Verified answers grade their targets."""
        for one in outcomes(completion):
            self._judged.observe(decision, {one.target: one.grade}, one.weight)

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """A caller's first word grades the target that was chosen, and the one preferred."""
        if feedback.earlier is not None:
            return
        grades = {decision.target: (feedback.score + 1.0) / 2.0}
        if feedback.preferred is not None:
            grades[feedback.preferred] = 1.0
        self._judged.observe(decision, grades, caller=feedback.caller)

    def public(self) -> Mapping[str, Any]:
        """For `/stats`."""
        return {**self._judged.public(), "worth_asking": self._worth.public()}


class EventFanOut:
    """Tells the journal, the learner, the record of confidence and the books; all only note."""

    def __init__(
        self,
        journal: Journal,
        learner: OnlineLearner,
        record: StoredRecord,
        books: UsageStore,
        watching: tuple[LiveCanary, Stories, JudgingRecord],
    ) -> None:
        self._watching = watching
        self._journal = journal
        self._learner = learner
        self._record = record
        self._books = books

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """A decision was made."""
        self._journal.decided(decision, context)
        self._learner.decided(decision, context)
        self._books.decided(decision, context)
        for one in self._watching[1:]:
            one.decided(decision, context)

    def completed(self, decision: Decision, completion: Completion) -> None:
        """An execution ended."""
        self._journal.completed(decision, completion)
        self._learner.completed(decision, completion)
        self._books.completed(decision, completion)
        for one in self._watching:
            one.completed(decision, completion)

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Feedback arrived, and the journal has it already."""
        self._learner.observe_feedback(decision, feedback)
        self._record.observe_feedback(decision.decision_id, feedback.score)
        self._books.observe_feedback(decision, feedback)
        for one in self._watching:
            one.observe_feedback(decision, feedback)

    def heard(self, sign: ImplicitFeedback) -> None:
        """A caller showed that the answer of an earlier decision was not good enough."""
        if sign.decision_id:
            self._record.observe_feedback(sign.decision_id, -1.0)
            self._learner.observe_retry(sign.decision_id, sign.caller.name)

    def audited(self, audit: Audit) -> None:
        """The router LLM said behind a request what it would have decided."""
        self._journal.audited(audit)
        self._books.audited((audit.tenant, audit.task, audit.target), audit.cost_usd)
