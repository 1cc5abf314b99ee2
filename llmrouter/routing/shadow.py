"""Another strategy deciding alongside, unseen: how often it would have chosen the same target.

A strategy can be tried on real requests before it is trusted with any. The answer is the live
stage's alone; the shadow runs behind it, its verdicts go nowhere but into a count, and what it
costs (a shadow of `llm` calls the router LLM) is the operator's choice. Too many at once are
dropped. Requests that a pinned model, a rule or the cache answers are not shadowed: it stands
around the stage that chooses afresh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmrouter.domain.background import Background
from llmrouter.domain.decision import Question, Verdict
from llmrouter.domain.ports import Observer, Stage


class Shadow:
    """A stage around the live one; `strategies` are the pipelines that `learned.shadow` names."""

    def __init__(
        self,
        inner: Stage,
        strategies: Mapping[str, Sequence[Stage]],
        observer: Observer,
        background: Background,
    ) -> None:
        self.name = inner.name
        self._inner = inner
        self._strategies = strategies
        self._observer = observer
        self._background = background

    async def decide(self, question: Question) -> Verdict | None:
        """The live stage's verdict, as if nobody else were there."""
        verdict = await self._inner.decide(question)
        name = question.catalog.learned.shadow
        if name is not None and verdict is not None:
            self._background.start(self._compare(name, question, verdict), "shadow")
        return verdict

    async def _compare(self, name: str, question: Question, live: Verdict) -> None:
        outcome = "abstained"
        try:
            for stage in self._strategies[name]:
                said = await stage.decide(question)
                if said is not None:
                    outcome = "agreed" if said.target == live.target else "disagreed"
                    break
        except Exception:
            outcome = "failed"  # counted, and nobody's request
        self._observer.count("shadow", 1, {"strategy": name, "outcome": outcome})
