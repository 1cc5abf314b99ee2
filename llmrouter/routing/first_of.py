"""Several stages as one: the first verdict wins.

A stage that raises counts as abstaining as long as another follows it; only the last one's failure
is raised, because then nobody is left to answer.
"""

from __future__ import annotations

import logging

from llmrouter.domain.decision import Question, Verdict
from llmrouter.domain.ports import Stage

log = logging.getLogger(__name__)


class FirstOf:
    """Asks its stages in order."""

    def __init__(self, *stages: Stage) -> None:
        self._stages = stages
        self.name = "+".join(stage.name for stage in stages)

    async def decide(self, question: Question) -> Verdict | None:
        """The first verdict among the stages, or None when all abstain."""
        last = len(self._stages) - 1
        for place, stage in enumerate(self._stages):
            try:
                verdict = await stage.decide(question)
            except Exception:
                if place == last:
                    raise
                log.exception("stage %s failed, asking the next one", stage.name)
                continue
            if verdict is not None:
                return verdict
        return None
