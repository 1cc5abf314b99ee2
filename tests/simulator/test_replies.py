"""Values that fit schemas."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from llmrouter.simulator.replies import example, reply, schema_of

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"const": 3}, "b": {"enum": ["x", "y"]}}},
    {"type": "array", "items": {"type": "integer", "minimum": 5, "maximum": 9}, "minItems": 3},
    {"type": "number", "exclusiveMinimum": 0, "maximum": 0.6},
    {"type": "integer", "maximum": -4},
    {"type": "string", "minLength": 60, "maxLength": 70},
    {"type": "string", "maxLength": 4},
    {"type": ["null", "string"]},
    {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}], "type": "object"},
    {
        "$defs": {"person": {"type": "object", "properties": {"name": {"type": "string"}},
                             "required": ["name"]}},
        "type": "object",
        "properties": {"people": {"type": "array", "items": {"$ref": "#/$defs/person"}}},
        "required": ["people"],
    },
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("text", ["", "a question", "another one"])
def test_examples_fit_their_schema(schema: dict[str, Any], text: str) -> None:
    """A validator nobody here wrote accepts each value."""
    jsonschema_rs.validate(schema, example(schema, text))


def test_a_schema_that_refers_to_itself_ends() -> None:
    """Recursion is cut at a depth."""
    schema = {"type": "object", "properties": {"again": {"$ref": "#"}}}
    assert isinstance(example(schema, "x"), dict)


def test_a_weak_model_sometimes_breaks_the_schema() -> None:
    """Over many hard prompts a weak model's JSON is broken now and then, a strong one's never."""
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    broken = {"llama-3.1-8b": 0, "gpt-5": 0}
    for number in range(40):
        text = f"Prove theorem {number}, derive its integral, optimise its complexity."
        document = {
            "messages": [{"role": "user", "content": text}],
            "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        }
        for model in broken:
            broken[model] += not reply(model, document).text.endswith("}")
    assert 5 < broken["llama-3.1-8b"] < 35
    assert broken["gpt-5"] == 0


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"response_format": {"type": "json_object", "schema": {"type": "null"}}}, True),
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": {"type": "text"}}, False),
        ({}, False),
    ],
)
def test_where_a_schema_may_stand(document: dict[str, Any], found: bool) -> None:
    """In response_format in any of its forms; plain requests have none."""
    messages = [{"role": "user", "content": "hi"}]
    assert (schema_of(document, messages) is not None) == found


def test_a_schema_written_in_the_system_prompt_is_found() -> None:
    """Where the prompt says it is one; other JSON in a prompt is just text."""
    written = '{"type":"object","properties":{"a":{"type":"string"}}}'
    for prompt, found in ((f"Answer under this JSON schema: {written}", True), (written, False)):
        messages = [{"role": "system", "content": prompt}, {"role": "user", "content": "x"}]
        assert (schema_of({}, messages) is not None) == found
