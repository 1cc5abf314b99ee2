"""What a simulated model says: prose, a tool call, or JSON that fits a schema.

Every prose answer says that it is simulated. A model too weak for a request gives an answer that
says it is likely wrong, with low log-probabilities, and sometimes breaks the schema it was given.
Everything follows from the request alone, so the same request always gets the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from llmrouter.simulator.models import difficulty, mastery, share
from llmrouter.simulator.roles import judge, route, wants_choice, wants_score
from llmrouter.simulator.script import scripted

DEPTH = 12
ITEMS = 16


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
    messages = [m for m in document["messages"] if isinstance(m, dict)]
    text = last_user_text(messages)
    level = mastery(model, text)
    limit = document.get("max_completion_tokens") or document.get("max_tokens")
    schema = schema_of(document, messages)
    if schema is not None:
        return _cut(_structured(schema, messages, level, text), level, limit)
    has_script, call = scripted(messages, [text_of(m) for m in messages], _names(document))
    if call is not None:
        return Reply((), "tool_calls", math.log(level), call)
    function = None if has_script else function_of(document, messages)
    if function is not None:
        arguments = example(function.get("parameters") or {"type": "object"}, text)
        call = (str(function.get("name", "tool")), orjson.dumps(arguments).decode())
        return Reply((), "tool_calls", math.log(level), call)
    return _cut(prose(model, text, level, sample), level, limit)


def function_of(
    document: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The function to call: the one that `tool_choice` names, else the first; None for prose.

    A turn that brings a tool's result is answered in prose.
    """
    choice, tools = document.get("tool_choice"), document.get("tools")
    if choice == "none" or not isinstance(tools, list) or messages[-1].get("role") != "user":
        return None
    functions = [t["function"] for t in tools if isinstance(t, dict) and _is_function(t)]
    if isinstance(choice, dict) and isinstance(choice.get("function"), dict):
        wanted = choice["function"].get("name")
        functions = [f for f in functions if f.get("name") == wanted]
    return functions[0] if functions else None


def _names(document: Mapping[str, Any]) -> list[str]:
    """The names of the tools that the request offers."""
    tools = document.get("tools")
    offered = [t["function"] for t in tools or () if isinstance(t, dict) and _is_function(t)]
    return [str(function.get("name")) for function in offered]


def _is_function(tool: Mapping[str, Any]) -> bool:
    return isinstance(tool.get("function"), dict)


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
        text = text_of(message)
        at = max(text.rfind('{"type":"object"'), text.rfind('{"type": "object"'))
        if at >= 0 and "schema" in text[max(0, at - 200) : at].lower():
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
    if wants_choice(schema) is not None:
        return orjson.dumps(route(schema, messages)).decode()
    if wants_score(schema):
        return orjson.dumps(judge(messages)).decode()
    if level < 0.35 and share("schema", text) < 0.5:
        return '{"simulated": "a weak model lost the thread here'
    return orjson.dumps(example(schema, text)).decode()


def example(schema: Mapping[str, Any], text: str) -> Any:
    """A value that fits the common part of JSON Schema: types, enums, bounds, references, unions.

    `pattern` and `format` are not read.
    """
    return _Example(schema).of(schema, text, 0)


class _Example:
    """Builds a value; `root` is where references lead."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def of(self, schema: Any, text: str, depth: int) -> Any:
        """A value for one schema; deeper than DEPTH there is only null."""
        if depth > DEPTH or not isinstance(schema, Mapping):
            return None
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            options = schema["enum"]
            return options[int(share("enum", text) * len(options))]
        for union in ("anyOf", "oneOf"):
            if isinstance(schema.get(union), list) and schema[union]:
                return self.of(schema[union][0], text, depth + 1)
        return self._of_kind(_kind(schema), schema, text, depth)

    def _of_kind(self, kind: object, schema: Mapping[str, Any], text: str, depth: int) -> Any:
        if kind == "object":
            wanted = schema.get("properties")
            names = wanted.items() if isinstance(wanted, Mapping) else ()
            return {name: self.of(inner, text, depth + 1) for name, inner in names}
        if kind == "array":
            count = min(ITEMS, max(1, int(schema.get("minItems", 1))))
            count = min(count, int(schema.get("maxItems", count)))
            return [self.of(schema.get("items", {}), f"{text}{n}", depth + 1) for n in range(count)]
        if kind == "integer":
            return int(_bounded(schema, 1, step=1))
        if kind == "number":
            return float(_bounded(schema, 0.5, step=0.5))
        if kind == "boolean":
            return share("boolean", text) < 0.5
        if kind == "null":
            return None
        said = "simulated: " + " ".join(text.split()[:6])
        least = int(schema.get("minLength", 0))
        return said.ljust(least, ".")[: int(schema.get("maxLength", max(len(said), least)))]

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        for _ in range(DEPTH):
            path = schema.get("$ref")
            if not isinstance(path, str) or not path.startswith("#"):
                break
            found: Any = self._root
            for step in path[1:].strip("/").split("/") if len(path) > 1 else ():
                found = found.get(step) if isinstance(found, Mapping) else None
            if not isinstance(found, Mapping):
                break
            schema = found
        parts = schema.get("allOf")
        if not isinstance(parts, list):
            return schema
        merged: dict[str, Any] = {**schema, "properties": {**schema.get("properties", {})}}
        for part in parts:
            inner = self._resolved(part) if isinstance(part, Mapping) else {}
            merged["properties"].update(inner.get("properties", {}))
            merged.update({k: v for k, v in inner.items() if k != "properties"})
        return merged


def _kind(schema: Mapping[str, Any]) -> object:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else None
    return kind


def _bounded(schema: Mapping[str, Any], usual: float, step: float) -> float:
    """A number within a schema's bounds, `usual` where that fits."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(schema.get("exclusiveMinimum"), int | float):
        low = schema["exclusiveMinimum"] + step
    if isinstance(schema.get("exclusiveMaximum"), int | float):
        high = schema["exclusiveMaximum"] - step
    value = usual
    if isinstance(high, int | float):
        value = min(value, high)
    if isinstance(low, int | float):
        value = max(value, low)
    return value


def _cut(text: str, level: float, limit: object) -> Reply:
    tokens = tuple(text[at : at + 4] for at in range(0, len(text), 4))
    logprob = math.log(min(0.99, 0.25 + 0.75 * level))
    if isinstance(limit, int | float) and len(tokens) > limit:
        return Reply(tokens[: int(limit)], "length", logprob)
    return Reply(tokens, "stop", logprob)
