"""Asks the router LLM for judgements: which protocol, within which time, at which cost.

It refuses to start a call that has no chance to end within what the request's deadline leaves, and
to retry: a protocol that the server does not speak is followed by the next one, anything else that
fails is raised as RouterLLMFailed, and the caller goes on without.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.interfaces import CallPrice, Judged, JudgeModel, Observer, Store
from llmrouter.domain.judgement import Judgement
from llmrouter.domain.prompt_view import View
from llmrouter.domain.target import Target
from llmrouter.errors import RouterLLMFailed
from llmrouter.judging.calls import Calls
from llmrouter.judging.chat import Chat
from llmrouter.judging.decisions import Decisions
from llmrouter.judging.dialects import Dialects
from llmrouter.judging.protocol import JudgementProtocol, JudgeRequest, not_spoken
from llmrouter.judging.structured import Structured
from llmrouter.judging.systemone import SystemOne
from llmrouter.util.tasks import Background

_WEIGHT = 0.2  # of the newest call in the running means
_HOPELESS = 0.5  # less than this share of the usual time left: the call is not started
_FORGET = 0.9  # each call not started makes the next one likelier
_SHARE = 0.9  # of what a deadline leaves: the stages after a time-out need time, too
PROBE_S: Final = 10.0
_PROBES: Final[Mapping[str, Mapping[str, Any]]] = {
    "systemone": {"state": "-", "questions": {}},
    "decisions": {"input": "-", "questions": []},
}
"""Requests without a question: they cost nothing, and a server that speaks the format either says
that a question is missing, or answers none."""


class Judge:
    """`view` cuts a request down to what is shown; `background` is where servers are probed.

    What is learned of target texts outlives this process in `store`, where there is one.
    """

    def __init__(
        self,
        model: JudgeModel,
        observer: Observer,
        view: Callable[[ChatRequest], View],
        background: Background,
        dialects: Dialects | None = None,
        store: Store | None = None,
    ) -> None:
        self._model = model
        self._observer = observer
        self._view = view
        self._background = background
        self._dialects = dialects or Dialects()
        each: Sequence[JudgementProtocol] = (Decisions(), SystemOne(), Chat(store), Structured())
        self._protocols = {protocol.name: protocol for protocol in each}
        self._usual_s: dict[tuple[str, str], float] = {}
        self._usual_usd: dict[tuple[str, str], float] = {}
        self._spent_usd = 0.0

    async def judge(
        self, context: RoutingContext, targets: Sequence[Target], known: Judgement | None = None
    ) -> Judged:
        """A judgement of `targets` for a request. Raises RouterLLMFailed.

        `known` is an earlier judgement of the same request, to which these targets are new.
        """
        llm = context.catalog.router
        if llm is None:
            raise RouterLLMFailed("misconfigured", "no router LLM is configured")
        limit_s = self._limit_s(context, llm)
        version = context.catalog.prompt_version
        calls = Calls(self._model, self._observer, llm, version, limit_s)
        request = JudgeRequest(context, llm, self._view(context.request), tuple(targets), known)
        started = time.monotonic()
        outcome = "ok"
        try:
            judgement = await self._by_protocol(request, calls)
        except RouterLLMFailed as failure:
            outcome, failure.cost_usd = failure.kind, calls.cost_usd
            raise
        finally:
            place = (llm.base_url, llm.model)
            self._spent_usd += calls.cost_usd
            if outcome in ("ok", "timeout"):
                _learn(self._usual_s, place, time.monotonic() - started)
            if outcome == "ok":
                _learn(self._usual_usd, place, calls.cost_usd)
            if self._dialects.wants_probe(llm):  # also of a server that does not chat at all
                self._background.start(self._probe(llm), "probe the router LLM")
        return Judged(judgement, calls.cost_usd)

    def price(self, llm: RouterLLM) -> CallPrice | None:
        """What a judgement takes lately; None before the first."""
        place = (llm.base_url, llm.model)
        usd, seconds = self._usual_usd.get(place), self._usual_s.get(place)
        if usd is None or seconds is None:
            return None
        return CallPrice(usd, seconds, self._spent_usd)

    async def _by_protocol(self, request: JudgeRequest, calls: Calls) -> Judgement:
        llm, names = request.llm, self._dialects.order(request.llm)
        refused: list[str] = []
        while True:
            name = names.pop(0)
            try:
                judgement = await self._protocols[name].judge(request, calls)
            except RouterLLMFailed as failure:
                unspoken = not_spoken(failure) and not self._dialects.speaks(llm, name)
                if not names or not (unspoken or failure.kind == "no_logprobs"):
                    raise
                refused.append(name)
            else:
                for other in refused:  # the next one answered: it was not about this request
                    self._dialects.refuse(llm, other)
                self._dialects.learn(llm, name)
                return judgement

    async def _probe(self, llm: RouterLLM) -> None:
        """Whether the server answers typed questions; a refusal is no failure of anything."""
        for name, question in _PROBES.items():
            try:
                answer = await self._model.post(
                    llm, f"/{name}", {"model": llm.model, **question}, PROBE_S
                )
                spoken = "answers" in answer
            except RouterLLMFailed as failure:
                spoken = failure.status in (400, 422) and "question" in failure.detail.lower()
            if spoken:
                self._dialects.learn(llm, name)
                return

    def _limit_s(self, context: RoutingContext, llm: RouterLLM) -> float:
        """Seconds for the call. Raises RouterLLMFailed (`timeout`) where that is hopeless."""
        whole_s = llm.timeout_ms / 1000.0
        limit_s = min(whole_s, context.deadline.remaining_s() * _SHARE)
        place = (llm.base_url, llm.model)
        usual_s = self._usual_s.get(place, 0.0)
        if limit_s <= 0 or limit_s < min(whole_s, usual_s * _HOPELESS):
            self._usual_s[place] = usual_s * _FORGET
            detail = f"not asked: {limit_s * 1000:.0f} ms left, it takes {usual_s * 1000:.0f} ms"
            raise RouterLLMFailed("timeout", detail)
        return limit_s


def _learn(means: dict[tuple[str, str], float], place: tuple[str, str], value: float) -> None:
    usual = means.get(place, value)
    means[place] = usual + _WEIGHT * (value - usual)
