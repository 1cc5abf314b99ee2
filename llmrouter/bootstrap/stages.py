"""Which stages a request is asked of, in order, for each strategy that it may name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmrouter.domain.decision import ShadowComparison
from llmrouter.domain.interfaces import Judgements, Observer, Stage, Store
from llmrouter.learning.online.online_learner import OnlineLearner
from llmrouter.routing.stages.exploration import Budget, Exploration
from llmrouter.routing.stages.judged import JudgedStage, Judging, LearnedOnly
from llmrouter.routing.stages.rules import Rules, StartCascade
from llmrouter.routing.stages.session_affinity import SessionAffinity
from llmrouter.routing.stages.shadow import Shadow
from llmrouter.util.tasks import Background


@dataclass(frozen=True, slots=True)
class StageParts:
    """What stages are made of.

    `judging` uses everything that is known of a request, `asking` the router LLM's judgement
    alone. `shadowed` is told of comparisons with other strategies.
    """

    judgements: Judgements
    judging: Judging
    asking: Judging
    learner: OnlineLearner
    store: Store
    observer: Observer
    background: Background
    shadowed: Callable[[ShadowComparison], None]


def pipelines(parts: StageParts) -> dict[str, tuple[Stage, ...]]:
    """The stages of every strategy. Each inner stage is asked where the outer one abstains."""
    alone: dict[str, tuple[Stage, ...]] = {
        "rules": (Rules(),),
        "learned": (LearnedOnly(parts.judging),),
        "llm": (JudgedStage(parts.judgements, parts.asking),),
        "cascade": (StartCascade(),),
    }
    return {
        **alone,
        "auto": (
            Rules(),
            SessionAffinity(
                Exploration(
                    Shadow(
                        JudgedStage(parts.judgements, parts.judging),
                        alone,
                        parts.learner.prospects,
                        parts.shadowed,
                        parts.background,
                    ),
                    parts.learner.prospects,
                    Budget(parts.store, parts.background),
                    parts.observer,
                ),
                parts.store,
            ),
        ),
    }
