"""A scripted router LLM for every way of asking, and requests to be judged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmrouter.domain.catalog import Prompts, RouterLLM
from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.completion import Usage
from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.interfaces import ChatAnswer, TokenAnswer
from llmrouter.domain.judgement import Judgement
from llmrouter.domain.prompt_view import View, ViewTurn
from llmrouter.errors import RouterLLMFailed
from llmrouter.judging.calls import Calls
from llmrouter.judging.chat import Chat
from llmrouter.judging.decisions import Decisions
from llmrouter.judging.protocol import JudgementProtocol, JudgeRequest
from llmrouter.judging.structured import Structured
from llmrouter.judging.systemone import SystemOne
from tests.fakes import RecordingObserver, a_catalog, a_target
from tests.routing.asking import a_question, some_features

LLM = RouterLLM("judge", "http://judge.test/v1", price_input=1.0, price_output=2.0)
TEMPLATE = "Judge.{% for t in targets %} {{ t.id }}{% endfor %}"
Said = str | Mapping[str, Any] | Mapping[str, float] | RouterLLMFailed


class Scripted:
    """Implements JudgeModel: `said` answers chat and tokens in turn, `posts` other paths."""

    def __init__(
        self, *said: Said, posts: Callable[[str, Mapping[str, Any]], Any] | None = None
    ) -> None:
        self.said = list(said)
        self.posts = posts
        self.messages: list[Sequence[Mapping[str, str]]] = []
        self.schemas: list[Mapping[str, Any]] = []
        self.bodies: list[tuple[str, Mapping[str, Any]]] = []
        self.logprobs = True
        self.gate: asyncio.Event | None = None

    def gives_logprobs(self, llm: RouterLLM) -> bool:
        """As the test says."""
        return self.logprobs

    def _next(self) -> Any:
        said = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(said, RouterLLMFailed):
            raise said
        return said

    async def ask(
        self,
        llm: RouterLLM,
        messages: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
        timeout_s: float,
    ) -> ChatAnswer:
        """The next text."""
        self.messages.append(messages)
        self.schemas.append(schema)
        return ChatAnswer(str(self._next()), Usage(100, 10), llm.model, "stop")

    async def next_token(
        self, llm: RouterLLM, messages: Sequence[Mapping[str, str]], timeout_s: float
    ) -> TokenAnswer:
        """The next distribution."""
        self.messages.append(messages)
        if not self.logprobs:
            raise RouterLLMFailed("no_logprobs", "scripted")
        if self.gate is not None:
            await self.gate.wait()
        return TokenAnswer(self._next(), Usage(100, 1, 80), llm.model, "length")

    async def post(
        self, llm: RouterLLM, path: str, body: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """What `posts` makes of it; a 404 without it."""
        self.bodies.append((path, body))
        if self.posts is None:
            raise RouterLLMFailed("misconfigured", "404", status=404)
        answer = self.posts(path, body)
        if isinstance(answer, RouterLLMFailed):
            raise answer
        found: Mapping[str, Any] = answer
        return found


def a_view(text: str = "What is 2+2?") -> View:
    """A view of one user turn."""
    return View("", None, (ViewTurn("user", text),), {}, 1, len(text))


def viewed(request: ChatRequest) -> View:
    """The whole text as the only turn."""
    return a_view(request.messages[0].text)


def to_judge(llm: RouterLLM = LLM, **over: Any) -> RoutingContext:
    """A question over small and large with a router LLM."""
    catalog = over.pop("catalog", None) or a_catalog(
        a_target("small"), a_target("large", price=replace(a_target().price, input=10.0))
    )
    prompts = Prompts(router=TEMPLATE)
    catalog = replace(catalog, router=llm, prompts=prompts, prompt_version="p1")
    features = over.pop("features", None) or some_features()
    eligible = over.pop("eligible", tuple(catalog.targets))
    return a_question(catalog=catalog, features=features, eligible=eligible, **over)


async def judged(
    protocol: str | JudgementProtocol,
    model: Scripted,
    *,
    only: Sequence[str] = (),
    known: Judgement | None = None,
    context: RoutingContext | None = None,
    observer: RecordingObserver | None = None,
) -> tuple[Judgement, Scripted]:
    """What one protocol makes of a request. `only` names targets that are judged alone."""
    each = {one.name: one for one in (Decisions(), SystemOne(), Chat(), Structured())}
    spoken = each[protocol] if isinstance(protocol, str) else protocol
    context = context or to_judge()
    targets = context.targets()
    if only:
        targets = tuple(target for target in targets if target.id in only)
        known = known or Judgement(levels=(0.2,) * 5, protocol=spoken.name, model="judge")
    llm = context.catalog.router
    assert llm is not None
    calls = Calls(model, observer or RecordingObserver(), llm, "p1", 5.0)
    request = JudgeRequest(context, llm, a_view(), targets, known)
    return await spoken.judge(request, calls), model
