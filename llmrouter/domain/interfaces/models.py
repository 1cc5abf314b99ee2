"""Models besides the targets: the router LLM, the judge, the encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.completion import (
    Usage,
)


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a small LLM (router or judge) said.

    `logprob` is the mean token log-probability of the answer where the server gives one.
    """

    text: str
    usage: Usage
    model: str
    finish_reason: str | None = None
    refusal: bool = False
    logprob: float | None = None


class ChatModel(Protocol):
    """A small LLM that answers a bounded question in JSON: the router's, and the judge's."""

    async def ask(
        self,
        llm: RouterLLM,
        messages: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
        timeout_s: float,
    ) -> ChatAnswer:
        """One structured answer. Raises RouterLLMFailed; never retries beyond `llm.retries`."""
        ...


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """The distribution of one next token: `probabilities` (0..1) by token text, as far as told."""

    probabilities: Mapping[str, float]
    usage: Usage
    model: str
    finish_reason: str | None = None


class JudgeModel(ChatModel, Protocol):
    """A router LLM's server, in every way it can be asked. Every method raises RouterLLMFailed."""

    def gives_logprobs(self, llm: RouterLLM) -> bool:
        """False once the server has shown that it tells no log-probabilities."""
        ...

    async def next_token(
        self, llm: RouterLLM, messages: Sequence[Mapping[str, str]], timeout_s: float
    ) -> TokenAnswer:
        """The next token's distribution. Raises `no_logprobs` where the server tells none."""
        ...

    async def post(
        self, llm: RouterLLM, path: str, body: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """The JSON object that answers a POST to `path` below the model's base_url."""
        ...


class Embeddings(Protocol):
    """Vectors of texts from somewhere that takes its time: a server, or a model of this machine."""

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector a text, in order, all of one length. Raises EncoderFailed.

        The caller bounds the wait; a cancelled call leaves nothing behind.
        """
        ...

    async def close(self) -> None:
        """Release what is held; it is not used after."""
        ...
