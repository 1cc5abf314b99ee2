"""Which request a server understands: structured output, token limit, log-probabilities. Pure.

Servers that speak "the OpenAI API" differ. A `Dialect` starts with the best form of every feature
and loses one form for each that a server rejects:

1. structured output: `json_schema` (strict), `json_object` with the schema beside it (llama.cpp),
   `json_object`, plain text. From the second on, the schema also stands in the prompt.
2. the token limit: `max_tokens`, `max_completion_tokens` (first where the model reasons), none.
3. temperature 0, log-probabilities, the least reasoning effort, a system turn: sent until they are
   rejected.

A feature is dropped when a 4xx names it, or a 500 that says so (llama.cpp's Python server answers a
wrong `response_format` with 500), or when a bare 400 or 422 leaves nothing else to suspect. A
time-out, a broken connection, and what the table of signs (`domain/error_signs`) knows to be
another matter (an overlong prompt, an unknown model, an empty account) never drop one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal

import orjson

from llmrouter.domain.error_signs import ErrorCategory
from llmrouter.domain.patterns import Pattern, compile_pattern
from llmrouter.domain.provider_errors import category_said, read_error

Format = Literal["json_schema", "json_object+schema", "json_object", "text"]
FORMATS: Final[tuple[Format, ...]] = ("json_schema", "json_object+schema", "json_object", "text")
EFFORTS: Final = ("minimal", "none", "low")
MAX_TOKENS: Final = 256
MOST_LOGPROBS: Final = 20
FEW_LOGPROBS: Final = 5
"""How many alternatives to a token are asked for, and what servers with a lower limit take."""
MAX_REASONING_TOKENS: Final = 1500  # what the model thinks counts against its limit, too

_REASONS = compile_pattern(r"o\d|gpt-5", ignore_case=True)
_NAMES: Final[Mapping[str, Pattern]] = {
    "format": compile_pattern(
        r"response.?(format|schema)|json.?(schema|object|mode)|structured.?output|grammar",
        ignore_case=True,
    ),
    "top_logprobs": compile_pattern(r"top.?log.?probs?", ignore_case=True),
    "logprobs": compile_pattern(r"log.?prob", ignore_case=True),
    "max_tokens": compile_pattern(r"\bmax_tokens\b", ignore_case=True),
    "max_completion_tokens": compile_pattern(r"\bmax_completion_tokens\b", ignore_case=True),
    "temperature": compile_pattern(r"\btemperature\b", ignore_case=True),
    "effort": compile_pattern(r"reasoning.?effort", ignore_case=True),
    "system": compile_pattern(
        r"system.?(role|message|prompt)|roles?\b.{0,40}\bsystem\b", ignore_case=True
    ),
    "thinking": compile_pattern(r"chat.?template|enable.?thinking", ignore_case=True),
}
_ABOUT_HOW = (None, ErrorCategory.UNSUPPORTED, ErrorCategory.INVALID_REQUEST)
"""What a refusal's words may say (None: nothing known) where it may be about how we asked."""
_IN_PROMPT = (
    "\n\nAnswer with one JSON object and nothing else. It must be valid under this JSON schema:\n"
)
# What OpenAI's strict mode does not take for every model; the answer is checked anyway.
_NOT_STRICT = frozenset({"minLength", "maxLength", "minimum", "maximum", "pattern", "default"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is known of one model on one server. `rejected` holds the forms it turned down.

    `thinking` False asks the server's chat template not to let the model think. `token`: one token
    is asked for, with its alternatives, and no structured output.
    """

    reasons: bool = False
    rejected: frozenset[str] = frozenset()
    thinking: bool = True
    token: bool = False

    @property
    def format(self) -> Format:
        """The form of structured output to ask for."""
        return next((form for form in FORMATS if form not in self.rejected), "text")

    @property
    def limit(self) -> str | None:
        """The name under which the token limit is sent; None where both were turned down."""
        names = ("max_tokens", "max_completion_tokens")
        for name in names[::-1] if self.reasons else names:
            if name not in self.rejected:
                return name
        return None

    @property
    def effort(self) -> str | None:
        """The least reasoning that was not turned down; None where the model does not reason."""
        if not self.reasons:
            return None
        return next((effort for effort in EFFORTS if effort not in self.rejected), None)

    def sends(self, feature: str) -> bool:
        """Whether a feature that is either sent or not is sent."""
        if feature in ("temperature", "logprobs") and self.reasons:
            return False
        return feature not in self.rejected

    def quieter(self) -> Dialect | None:
        """How to ask a model that thought and did not answer; None where all has been tried.

        First it is asked not to think (vLLM, SGLang, llama.cpp), which costs least; then it gets
        the tokens that a model which thinks needs.
        """
        if self.thinking:
            return replace(self, thinking=False)
        return None if self.reasons else replace(self, reasons=True)

    def without(self, form: str) -> Dialect:
        """The dialect after `form` was turned down.

        A model that has no `max_tokens` is one that reasons: temperature and log-probabilities go
        with it, in one step instead of three refusals.
        """
        reasons = self.reasons or form == "max_tokens"
        return replace(self, reasons=reasons, rejected=self.rejected | {form})


@dataclass(frozen=True, slots=True)
class DialectRejection:
    """What a server said to a request: its status, its message and the parameter it names."""

    status: int
    message: str
    param: str = ""


@dataclass(frozen=True, slots=True)
class Downgrade:
    """The next dialect to try. `named` is false when the feature was only suspected."""

    dialect: Dialect
    named: bool


@lru_cache(maxsize=256)
def first_dialect(model: str) -> Dialect:
    """The first guess for a model that was not asked yet, by its name; refusals correct it."""
    name = model.rpartition("/")[2]
    return Dialect(reasons=bool(_REASONS.match(name)) and "chat" not in name.lower())


def request_body(
    dialect: Dialect,
    model: str,
    messages: Sequence[Mapping[str, str]],
    schema: Mapping[str, Any],
) -> dict[str, Any]:
    """The chat-completions body in this dialect."""
    body: dict[str, Any] = {"model": model}
    turns = [dict(message) for message in messages]
    if dialect.format != "json_schema":
        turns = _with_schema(turns, schema)
    if not dialect.sends("system"):
        turns = _without_system(turns)
    body["messages"] = turns
    if dialect.limit:
        body[dialect.limit] = MAX_REASONING_TOKENS if dialect.reasons else MAX_TOKENS
    if dialect.sends("temperature"):
        body["temperature"] = 0
    if dialect.sends("logprobs"):
        body["logprobs"] = True
    if dialect.effort:
        body["reasoning_effort"] = dialect.effort
    if not dialect.thinking and dialect.sends("thinking"):
        body["chat_template_kwargs"] = {"enable_thinking": False}
    match dialect.format:
        case "json_schema":
            strict = {"name": "answer", "strict": True, "schema": strict_schema(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": strict}
        case "json_object+schema":
            body["response_format"] = {"type": "json_object", "schema": dict(schema)}
        case "json_object":
            body["response_format"] = {"type": "json_object"}
        case "text":
            pass
    return body


def token_body(
    dialect: Dialect, model: str, messages: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """A chat-completions body for one token and the likeliest alternatives to it."""
    turns = [dict(message) for message in messages]
    if not dialect.sends("system"):
        turns = _without_system(turns)
    body: dict[str, Any] = {"model": model, "messages": turns, "logprobs": True}
    body["top_logprobs"] = FEW_LOGPROBS if "top_logprobs" in dialect.rejected else MOST_LOGPROBS
    if dialect.limit:
        body[dialect.limit] = 1
    if dialect.sends("temperature"):
        body["temperature"] = 0
    return body


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in the subset of strict mode: bounds on values are left out."""
    return {
        key: _strict(value) if key != "properties" else {k: _strict(v) for k, v in value.items()}
        for key, value in schema.items()
        if key not in _NOT_STRICT
    }


def downgrade(dialect: Dialect, refusal: DialectRejection) -> Downgrade | None:
    """The dialect to try after a refusal, or None when it is not about how we asked."""
    status, message = refusal.status, refusal.message
    said = category_said(status, read_error(message.encode()))
    if status == 500:
        if said is not ErrorCategory.UNSUPPORTED:
            return None
    elif status not in (400, 403, 404, 415, 422, 501) or said not in _ABOUT_HOW:
        return None
    sent = tuple(_sent(dialect))
    for text in (refusal.param, message):
        for feature, form in sent:
            if text and _NAMES[feature].search(text):
                return Downgrade(dialect.without(form), named=True)
    if status not in (400, 422):
        return None
    suspects = [form for feature, form in sent if feature != "system"]
    return Downgrade(dialect.without(suspects[0]), named=False) if suspects else None


def _sent(dialect: Dialect) -> Iterator[tuple[str, str]]:
    """What this dialect sends and could do without: feature and form, the likeliest first."""
    if dialect.format != "text" and not dialect.token:
        yield "format", dialect.format
    if not dialect.thinking and dialect.sends("thinking"):
        yield "thinking", "thinking"
    if dialect.sends("logprobs"):
        if dialect.token and "top_logprobs" not in dialect.rejected:
            yield "top_logprobs", "top_logprobs"
        yield "logprobs", "logprobs"
    if dialect.effort and not dialect.token:
        yield "effort", dialect.effort
    if dialect.limit:
        yield dialect.limit, dialect.limit
    if dialect.sends("temperature"):
        yield "temperature", "temperature"
    if dialect.sends("system"):
        yield "system", "system"


def _with_schema(turns: list[dict[str, str]], schema: Mapping[str, Any]) -> list[dict[str, str]]:
    rule = _IN_PROMPT + orjson.dumps(schema).decode()
    if turns and turns[0]["role"] == "system":
        return [{**turns[0], "content": turns[0]["content"] + rule}, *turns[1:]]
    return [{"role": "system", "content": rule.strip()}, *turns]


def _without_system(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """System text at the head of the first user turn, for templates that know no system turn."""
    system = "\n\n".join(turn["content"] for turn in turns if turn["role"] == "system")
    rest = [turn for turn in turns if turn["role"] != "system"]
    if not rest:
        return [{"role": "user", "content": system}]
    return [{**rest[0], "content": f"{system}\n\n{rest[0]['content']}"}, *rest[1:]]


def _strict(value: Any) -> Any:
    return strict_schema(value) if isinstance(value, Mapping) else value
