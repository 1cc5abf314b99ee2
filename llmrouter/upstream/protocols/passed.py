"""Formats that are only relayed: embeddings, legacy completions, decisions and System One.

A target serves one of them where its catalog file lists the capability of that name. The bytes go
out and come back as they are; only `model` is set. Routing reads the text and the sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from llmrouter.domain.patterns import BytesPattern, compile_bytes
from llmrouter.errors import LLMRouterError
from llmrouter.upstream.protocols.interface import (
    Document,
    ParsedRequest,
    bad,
    dumped,
    event,
)
from llmrouter.upstream.response_parser import ParsedResponse, error_of, read
from llmrouter.upstream.usage_parser import usage_in

MOST_TOKENS: Final = 100_000
"""Token ids that count towards a request's size where a caller sends ids in place of text."""


_TELLING = compile_bytes(
    rb'"(?:usage|finish_reason|error|x_groq|timings|eval_count)"|data:\s*\[DONE\]'
)


@dataclass(frozen=True, slots=True)
class Passed:
    """One format. `capability` is what a target must have, `field` the member that holds the text.

    `answers` names the member without which an answer is empty.
    """

    name: str
    path: str
    capability: str
    field: str
    answers: str
    telling: BytesPattern = _TELLING

    def parse(self, document: Document) -> ParsedRequest:
        """The text as one user turn."""
        if document.get(self.field) in (None, "", []):
            raise bad(self.field, "is missing", "missing_required_parameter")
        text = _text(document[self.field])
        inside: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
        for name in ("model", "stream", "stream_options", "max_tokens", "router"):
            if document.get(name) is not None:
                inside[name] = document[name]
        if self.answers == "choices":
            prompts = _prompts(document[self.field])
            for name in ("n", "best_of"):
                if (count := document.get(name)) is not None or prompts > 1:
                    inside[name] = prompts * int(count or 1)
        return ParsedRequest(inside, frozenset({self.capability}))

    def read(self, document: Document) -> ParsedResponse:
        """Usage and model; text where the format has any."""
        if self.answers == "choices":
            return read(document)
        model = document.get("model")
        there = document.get(self.answers) is not None
        return ParsedResponse(
            usage=usage_in(document),
            model=model if isinstance(model, str) else None,
            has_content=there,
            choices=int(there),
        )

    def reader(self) -> Passed:
        """Every event speaks for itself."""
        return self

    def error_of(self, document: Document) -> tuple[str, int | None] | None:
        """An `error` object in place of an answer."""
        return error_of(document)

    def strip(self, body: bytes) -> bytes:
        """There is no history; nothing is taken out."""
        return body

    def error(self, error: LLMRouterError, request_id: str) -> dict[str, Any]:
        """OpenAI's envelope."""
        inside = {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
        return {"error": inside, **error.details}

    def error_event(self, error: LLMRouterError, request_id: str) -> bytes:
        """An error object as the last data."""
        return event(self.error(error, request_id))


def _prompts(value: object) -> int:
    """How many prompts there are: texts, or lists of token ids. Each is answered by itself."""
    several = isinstance(value, list) and value and isinstance(value[0], str | list)
    return len(value) if isinstance(value, list) and several else 1


def _text(value: object) -> str:
    """What routing reads of texts, token ids, messages or any other state."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        if all(isinstance(item, str) for item in value):
            return "\n".join(value)
        if isinstance(value[0], int) or (isinstance(value[0], list) and value[0]):
            ids = sum(len(item) if isinstance(item, list) else 1 for item in value)
            return "0000" * min(ids, MOST_TOKENS)  # four characters count as a token
    return dumped(value)


EMBEDDINGS: Final = Passed("openai-embeddings", "/embeddings", "embeddings", "input", "data")
COMPLETIONS: Final = Passed(
    "openai-completions", "/completions", "completions", "prompt", "choices"
)
DECISIONS: Final = Passed("openai-decisions", "/decisions", "decisions", "input", "answers")
SYSTEMONE: Final = Passed("systemone", "/systemone", "systemone", "state", "answers")
