"""What a simulated model says: prose, a tool call, or JSON that fits a schema.

Every prose answer says that it is simulated. A model too weak for a request gives an answer that
says it is likely wrong, with low log-probabilities, and sometimes breaks the schema it was given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from llmrouter.simulator.models import difficulty, mastery, share
from llmrouter.simulator.roles import judge, route, wants_choice, wants_score


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: `tokens` as they would stream, or a tool call. `logprob` is each token's."""

    tokens: tuple[str, ...]
    finish_reason: str
    logprob: float
    tool: tuple[str, str] | None = None

    @property
    def text(self) -> str:
        """The answer in one piece."""
        return "".join(self.tokens)


def text_of(message: Mapping[str, Any]) -> str:
    """A message's text parts, joined."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The newest user turn."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return text_of(message)
    return ""


def reply(model: str, document: Mapping[str, Any], sample: int = 0) -> Reply:
    """The answer of `model` to a chat-completions document; `sample` varies it for `n` > 1."""
    messages = [m for m in document.get("messages", []) if isinstance(m, dict)]
    text = last_user_text(messages)
    level = mastery(model, text)
    limit = document.get("max_completion_tokens") or document.get("max_tokens")
    schema = schema_of(document, messages)
    if schema is not None:
        return _cut(_structured(schema, messages, level, text), level, limit)
    tools = document.get("tools")
    if tools and document.get("tool_choice") != "none" and messages[-1].get("role") == "user":
        function = tools[0].get("function", {})
        arguments = example(function.get("parameters") or {"type": "object"}, text)
        call = (str(function.get("name", "tool")), orjson.dumps(arguments).decode())
        return Reply((), "tool_calls", math.log(level), call)
    return _cut(prose(model, text, level, sample), level, limit)


def prose(model: str, text: str, level: float, sample: int = 0) -> str:
    """An answer in words."""
    topic = " ".join(text.split()[:12]) or "nothing"
    variant = "" if sample == 0 else f" Variant {sample + 1}."
    if level < 0.5:
        return (
            f"[simulated {model}, likely wrong] This is past what the simulated model can do "
            f"(difficulty {difficulty(text):.2f}). A guess about: {topic}.{variant}"
        )
    return f"[simulated {model}] A simulated, sound answer about: {topic}.{variant}"


def schema_of(
    document: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The JSON schema a request asks for: in `response_format`, or written out in its prompt."""
    wanted = document.get("response_format")
    if isinstance(wanted, dict):
        inner = wanted.get("json_schema")
        if isinstance(inner, dict) and isinstance(inner.get("schema"), dict):
            return dict(inner["schema"])
        if isinstance(wanted.get("schema"), dict):
            return dict(wanted["schema"])
        if wanted.get("type") == "json_object":
            return _written(messages) or {"type": "object", "properties": {"answer": {}}}
    return _written(messages)


def _written(messages: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    for message in messages:
        if message.get("role") not in {"system", "developer"}:
            continue
        text = text_of(message)
        at = text.rfind('{"type":"object"')
        if at < 0:
            at = text.rfind('{"type": "object"')
        if at >= 0:
            depth = 0
            for end in range(at, len(text)):
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                if depth == 0:
                    try:
                        return dict(orjson.loads(text[at : end + 1]))
                    except ValueError:
                        return None
    return None


def _structured(
    schema: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], level: float, text: str
) -> str:
    if (targets := wants_choice(schema)) is not None:
        return orjson.dumps(route(targets, messages)).decode()
    if wants_score(schema):
        return orjson.dumps(judge(messages)).decode()
    if level < 0.35 and share("schema", text) < 0.5:
        return '{"simulated": "a weak model lost the thread here"'
    return orjson.dumps(example(schema, text)).decode()


def example(schema: Mapping[str, Any], text: str, depth: int = 0) -> Any:
    """A value that fits the common part of JSON Schema."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        options = list(schema["enum"])
        return options[int(share("enum", text) * len(options))]
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return example(schema[union][0], text, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if depth > 12:
        return None
    if kind == "object" or "properties" in schema:
        wanted = schema.get("properties", {})
        return {name: example(inner, text, depth + 1) for name, inner in wanted.items()}
    if kind == "array":
        count = max(1, int(schema.get("minItems", 1)))
        return [example(schema.get("items", {}), f"{text}{n}", depth + 1) for n in range(count)]
    if kind == "integer":
        return int(schema.get("minimum", 1))
    if kind == "number":
        return float(schema.get("minimum", 0.5))
    if kind == "boolean":
        return share("boolean", text) < 0.5
    if kind == "null":
        return None
    said = "simulated: " + " ".join(text.split()[:6])
    least = int(schema.get("minLength", 0))
    return said.ljust(least, ".")[: int(schema.get("maxLength", len(said) + least))]


def _cut(text: str, level: float, limit: object) -> Reply:
    tokens = tuple(text[at : at + 4] for at in range(0, len(text), 4))
    logprob = math.log(min(0.99, 0.25 + 0.75 * level))
    if isinstance(limit, int | float) and len(tokens) > limit:
        return Reply(tokens[: int(limit)], "length", logprob)
    return Reply(tokens, "stop", logprob)
