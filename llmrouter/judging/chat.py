"""Any chat server with log-probabilities: the distribution of one token over single-letter labels.

A request is asked one thing: how able must a model be to answer it well, on a scale of LEVELS
rungs. A target is asked one thing for each kind of work, once, not for every request: how hard may
that work be for this model still to do it well. Both answers are distributions over the same scale,
and the probability that a target answers a request well follows from them in code.

So no list of targets stands in the prompt of a request: there is no order of targets to matter, no
name for a prompt to ask for, and nothing that changes with the catalog. Everything before the
request itself is the same for every request, which prefix caches keep. What a pair of a specialist
and a request of its speciality has in common beyond the kind of work is not seen; outcomes
calibrate that, and protocols that ask about each pair see it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import orjson

from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.interfaces import Store, TokenAnswer
from llmrouter.domain.judgement import LEVELS, Judgement, text_key
from llmrouter.domain.target import Target
from llmrouter.errors import RouterLLMFailed, StoreFailed
from llmrouter.judging.calls import Calls
from llmrouter.judging.prompt import Rendered, described, in_fixed_order, render
from llmrouter.judging.protocol import (
    MASS_FLOOR,
    SCALE,
    JudgeRequest,
    difficulty_of,
    level_question,
    shares,
    signed,
)

LABELS: Final = "ABCDE"
ABOVE: Final = (0.02, 0.05, 0.1, 0.35, 0.8, 0.92, 0.96, 0.98, 0.99)
"""P(answers well) by how many rungs a model's ability is above what a request needs, from -4."""
PROFILES: Final = 4096
KEPT_S: Final = 30 * 86_400.0
"""How long what was learned of a target text stays in the store."""
MAX_AT_ONCE: Final = 4

_SCALE = "\n".join(
    f"{label}: {name}: {meaning}" for label, (name, meaning) in zip(LABELS, SCALE, strict=True)
)
_ANSWER = f"Answer with one letter: {', '.join(LABELS)}."

Profile = tuple[float, ...]
"""How likely each rung is the hardest work of one kind that a target does well."""


_Answer = tuple[tuple[float, ...], float] | RouterLLMFailed
_Name = tuple[str, str, str, str, str]
"""Server, model, version of the router prompt, task, and the target's text key."""


class Chat:
    """Implements JudgementProtocol. Keeps what it learned of target texts, in `store` as well."""

    name = "chat"

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self._profiles: dict[_Name, Profile] = {}
        self._asking: dict[_Name, asyncio.Future[_Answer]] = {}

    async def judge(self, request: JudgeRequest, calls: Calls) -> Judgement:
        """One token, and one for each target text not seen with this kind of work before.

        Raises RouterLLMFailed where the request's own question fails; a target whose question
        fails stays unjudged.
        """
        task = request.context.features.traits.task
        prompt = render(request.context, request.view)
        if request.known is not None and len(request.known.levels) == LEVELS:
            levels, mass = request.known.levels, request.known.valid_mass
            profiles = await self._profiles_of(request, task, prompt, calls)
            if not profiles:
                raise RouterLLMFailed("low_mass", "no question about a target was answered")
        else:
            async with asyncio.TaskGroup() as group:
                about = group.create_task(
                    self._ask(prompt, prompt.request, level_question(), calls)
                )
                beside = group.create_task(self._profiles_of(request, task, prompt, calls))
            answer = about.result()
            if isinstance(answer, RouterLLMFailed):
                raise answer
            (levels, mass), profiles = answer, beside.result()
        found = {key: chance(levels, profile) for key, profile in profiles.items()}
        judgement = Judgement(found, task, difficulty_of(levels), levels, mass)
        return signed(judgement, self.name, request)

    async def _profiles_of(
        self, request: JudgeRequest, task: str, prompt: Rendered, calls: Calls
    ) -> dict[str, Profile]:
        """By text key; those of which nothing is known are asked about, a few at a time."""
        found: dict[str, Profile] = {}
        unknown: list[tuple[_Name, Target]] = []
        for target in in_fixed_order(request.targets):  # what is asked first changes what is cached
            version = request.context.catalog.prompt_version
            name = (*_place(request.llm), version, task, text_key(target))
            profile = self._profiles.get(name) or await self._stored(name)
            if profile is not None:
                found[name[4]] = profile
            else:
                unknown.append((name, target))
        for at in range(0, len(unknown), MAX_AT_ONCE):
            part = unknown[at : at + MAX_AT_ONCE]
            answers = await asyncio.gather(
                *(self._profile(name, target, prompt, calls) for name, target in part)
            )
            for (name, _), answer in zip(part, answers, strict=True):
                if not isinstance(answer, RouterLLMFailed):
                    found[name[4]] = answer[0]
                    self._keep(name, answer[0])
        return found

    def _keep(self, name: _Name, profile: Profile) -> None:
        if len(self._profiles) >= PROFILES:
            self._profiles.clear()
        self._profiles[name] = profile

    async def _stored(self, name: _Name) -> Profile | None:
        """What an earlier process learned; a store that fails has nothing."""
        if self._store is None:
            return None
        try:
            data = await self._store.get(_stored_under(name))
            profile = () if data is None else tuple(map(float, orjson.loads(data)))
        except (StoreFailed, ValueError, TypeError):
            return None
        if len(profile) != LEVELS:
            return None
        self._keep(name, profile)
        return profile

    async def _profile(
        self, name: _Name, target: Target, prompt: Rendered, calls: Calls
    ) -> _Answer:
        """One call for all requests that want to know the same of a target at the same time."""
        known = self._asking.get(name)
        if known is not None:
            return await asyncio.shield(known)
        answer: _Answer = RouterLLMFailed("timeout", "the call that was to answer was ended")
        future = self._asking[name] = asyncio.get_running_loop().create_future()
        try:
            about = f"MODEL: {described(target)}"
            answer = await self._ask(prompt, about, _ability(name[3]), calls)
        finally:
            del self._asking[name]
            future.set_result(answer)
        if self._store is not None and not isinstance(answer, RouterLLMFailed):
            with contextlib.suppress(StoreFailed):
                await self._store.put(_stored_under(name), orjson.dumps(answer[0]), KEPT_S)
        return answer

    async def _ask(self, prompt: Rendered, about: str, question: str, calls: Calls) -> _Answer:
        """Shares of the rungs and the valid mass, or why there are none."""
        messages = [
            {"role": "system", "content": f"{prompt.instructions}\n\nTHE SCALE\n{_SCALE}"},
            {"role": "user", "content": f"{about}\n{question} {_ANSWER}".strip()},
        ]
        try:
            answer = await calls.next_token(self.name, messages)
            return label_shares(answer, LABELS)
        except RouterLLMFailed as failure:
            return failure


def label_shares(answer: TokenAnswer, labels: str) -> tuple[tuple[float, ...], float]:
    """Each label's share of the valid mass, and that mass. Raises RouterLLMFailed (`low_mass`).

    A label counts with and without white space before it, and in either case.
    """
    found = dict.fromkeys(labels, 0.0)
    for token, value in answer.probabilities.items():
        label = token.strip().strip("*\"'`()").upper()
        if label in found:
            found[label] += value
    mass = min(1.0, sum(found.values()))
    if mass < MASS_FLOOR:
        raise RouterLLMFailed(
            "low_mass",
            f"{mass:.1%} of the probability on valid labels",
            tokens=answer.usage.tokens,
        )
    return shares(list(found.values())), mass


def chance(levels: Sequence[float], profile: Profile) -> float:
    """The probability that a target of this profile answers well what needs these levels."""
    return sum(
        need * able * ABOVE[rung - level + LEVELS - 1]
        for level, need in enumerate(levels)
        for rung, able in enumerate(profile)
    )


def _ability(task: str) -> str:
    kind = "requests of every kind" if task == "general" else f"{task.replace('_', ' ')} requests"
    return f"What is the hardest level at which this model answers {kind} well?"


def _stored_under(name: _Name) -> str:
    digest = blake2b("\0".join(name).encode("utf-8", "surrogatepass"), digest_size=16)
    return f"judge:profile:{digest.hexdigest()}"


def _place(llm: RouterLLM) -> tuple[str, str]:
    return llm.base_url, llm.model
