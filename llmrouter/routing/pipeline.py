"""Asks the stages in order until one gives a result with an eligible target.

This is the only place that runs stages. It bounds each by the deadline, turns failures into traces,
and checks every result against the eligible targets, so that a stale cache entry, an invented model
name or a prompt injection cannot get through.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmrouter.domain.deadline import NEVER
from llmrouter.domain.decision import RoutingContext, Source, StageResult, StageTrace
from llmrouter.domain.interfaces import Health, Observer, Stage
from llmrouter.domain.quick import quick
from llmrouter.errors import RouterLLMFailed
from llmrouter.routing.eligibility import is_pinned
from llmrouter.routing.last_resort import probing
from llmrouter.routing.stages.default import Default
from llmrouter.routing.vector_space import check_space, within_space

log = logging.getLogger(__name__)

STAGE_LIMIT_S = 10.0  # no stage may hold a request longer, whatever its own settings say


@quick
@dataclass(frozen=True, slots=True)
class RoutingResult:
    """The verdict and what each stage asked before it did."""

    verdict: StageResult
    notes: tuple[StageTrace, ...]

    @property
    def cost_usd(self) -> float:
        """What deciding took, the router LLM's answers that were of no use included."""
        return sum([note.cost_usd for note in self.notes], self.verdict.cost_usd)

    @property
    def reason(self) -> str:
        """The verdict's reason and, where stages failed on the way, how it came to it."""
        failures = [
            f"{note.stage} {note.outcome}: {note.detail}"
            for note in self.notes
            if note.outcome not in {"decided", "abstained"}
        ]
        if not failures:
            return self.verdict.reason
        return f"{self.verdict.reason} (after {'; '.join(failures)})"


class _Rest:
    """What is left of a coroutine that has been started, as something to await."""

    __slots__ = ("_coroutine", "_first")

    def __init__(self, coroutine: Coroutine[Any, Any, StageResult | None], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, StageResult | None]:
        pending = self._first
        step: Callable[[Any], Any]
        while True:
            try:
                value = yield pending
            except BaseException as error:
                step, value = self._coroutine.throw, error
            else:
                step = self._coroutine.send
            try:
                pending = step(value)
            except StopIteration as done:
                verdict: StageResult | None = done.value
                return verdict


class RoutingPipeline:
    """Runs the pipeline of the strategy that the request asks for, then the default."""

    def __init__(
        self, pipelines: Mapping[str, Sequence[Stage]], observer: Observer, default: Default
    ) -> None:
        self._pipelines = {name: tuple(stages) for name, stages in pipelines.items()}
        self._observer = observer
        self._default = default

    async def route(self, context: RoutingContext, health: Health) -> RoutingResult:
        """The target that the request names or that is probed, else what the stages decide.

        Raises BadRequest where embeddings of several models have no rule that chooses.
        """
        if is_pinned(context.request):
            target = context.eligible[0]
            return RoutingResult(
                StageResult(target, Source.PINNED, "the request names it", 1.0), ()
            )
        if (probe := probing(context.eligible, health)) is not None:
            return RoutingResult(probe, ())
        result = await self.decide(within_space(context))
        check_space(context, result.verdict)
        return result

    async def decide(self, context: RoutingContext) -> RoutingResult:
        """A ruling whose target is eligible. Never raises for a stage's failure."""
        notes: list[StageTrace] = []
        for stage in self._pipelines[context.request.options.strategy]:
            verdict = await self._ask(stage, context, notes)
            if verdict is not None:
                return RoutingResult(verdict, tuple(notes))
        verdict = await self._default.decide(context)
        notes.append(StageTrace(self._default.name, "decided"))
        return RoutingResult(verdict, tuple(notes))

    async def _ask(
        self, stage: Stage, context: RoutingContext, notes: list[StageTrace]
    ) -> StageResult | None:
        started = time.perf_counter()
        deadline = context.deadline
        limit_s = STAGE_LIMIT_S if deadline is NEVER else deadline.within_s(STAGE_LIMIT_S)
        if limit_s <= 0:
            notes.append(StageTrace(stage.name, "skipped", "no time is left"))
            return None
        verdict, name, outcome, detail, lost_usd = None, stage.name, "abstained", "", 0.0
        try:
            deciding = stage.decide(context)
            try:
                first = deciding.send(None)
            except StopIteration as done:  # most stages wait for nothing, and need no timer
                verdict = done.value
            else:
                async with asyncio.timeout(limit_s):
                    verdict = await _Rest(deciding, first)
        except TimeoutError:
            outcome, detail = "timeout", f"no answer within {limit_s * 1000:.0f} ms"
        except RouterLLMFailed as failure:
            name, outcome, detail = Source.LLM, "failed", str(failure)
            lost_usd = failure.cost_usd
            self._observer.count("stage_failures", 1, {"stage": name, "kind": failure.kind})
        except Exception as error:
            outcome, detail = "failed", type(error).__name__
            log.exception("stage %s failed", stage.name)
            self._observer.count("stage_failures", 1, {"stage": stage.name, "kind": "error"})
        if verdict is not None:
            name, outcome = verdict.source, "decided"
            if verdict.target not in context.eligible:
                outcome, detail = "ineligible", f"{verdict.target!r} is not eligible"
                lost_usd, verdict = verdict.cost_usd, None
        elapsed_ms = (time.perf_counter() - started) * 1000
        notes.append(StageTrace(name, outcome, detail, elapsed_ms, lost_usd))
        return verdict
