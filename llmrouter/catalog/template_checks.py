"""Checks the two Jinja2 templates before any request needs them.

A template is a program: it is parsed, its names are held against what it will be given, and it is
rendered in the same sandbox against samples, so that a typo is a line in a report and not a failing
router. Requests are rendered elsewhere.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmrouter.catalog.yaml_reader import MAX_CHARS, hint
from llmrouter.errors import Problem

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_TARGET: Final[Mapping[str, Any]] = {
    "id": "sample-target-7f3a",
    "description": "A sample.",
    "price_input": 0.25,
    "price_output": 2.0,
    "context_window": 128_000,
    "max_output": 16_000,
    "capabilities": ["json_schema", "tools"],
    "ttft_ms": 400.0,
    "tokens_per_s": 90.0,
}
_QUERY: Final[Mapping[str, Any]] = {
    "system": "Answer in English.",
    "first_user": "Hello",
    "turns": [{"role": "user", "text": "What is 2+2?"}],
    "omitted_turns": 3,
    "tools": ["search"],
    "needs": ["tools"],
    "input_tokens": 40,
    "output_tokens": 400,
    "task": "math",
    "nonce": "5a4e5a4e5a4e",
}
_BARE: Final[Mapping[str, Any]] = {
    **_QUERY,
    "system": "",
    "first_user": "",
    "turns": [],
    "omitted_turns": 0,
    "tools": [],
    "needs": [],
    "task": "",
}
_SMALL: Final[Mapping[str, Any]] = {**_TARGET, "max_output": None, "capabilities": []}


def check_router(file: str, source: str) -> list[Problem]:
    """What is wrong with router.md; it must render and show every target."""
    samples: list[dict[str, Any]] = [
        {"targets": [_TARGET, _SMALL], "query": _QUERY},
        {"targets": [_SMALL], "query": _BARE},
    ]
    problems, rendered = _render(file, source, samples)
    if not problems and any(_TARGET["id"] not in text for text in rendered):
        message = "the targets are not shown: loop over `targets` and print each `target.id`"
        return [Problem(file, 1, message)]
    return problems


def check_verifier(file: str, source: str) -> list[Problem]:
    """What is wrong with verifier.md; it must render from the strings `query` and `answer`."""
    samples = [{"query": "What is 2+2?", "answer": "4"}, {"query": "", "answer": ""}]
    problems, _ = _render(file, source, samples)
    return problems


def _render(
    file: str, source: str, samples: list[dict[str, Any]]
) -> tuple[list[Problem], list[str]]:
    if not source.strip():
        return [Problem(file, 1, "the template is empty")], []
    if len(source) > MAX_CHARS:
        return [Problem(file, 1, f"the template is over {MAX_CHARS // 1024} KB")], []
    try:
        tree = _ENVIRONMENT.parse(source)
        template = _ENVIRONMENT.from_string(source)
    except TemplateSyntaxError as error:
        return [Problem(file, error.lineno or 1, f"not a valid template: {error.message}")], []
    except RecursionError:
        return [Problem(file, 1, "not a valid template: nested too deep")], []
    unknown = find_undeclared_variables(tree) - samples[0].keys() - _ENVIRONMENT.globals.keys()
    if unknown:
        return [*_unknown(file, tree, unknown, samples[0])], []
    rendered = []
    for sample in samples:
        try:
            rendered.append(template.render(sample))
        except Exception as error:  # whatever an operator's template can raise
            problem = f"cannot be rendered: {_said(error, sample)}"
            return [Problem(file, _line(error), problem)], []
    return [], rendered


def _unknown(
    file: str, tree: nodes.Template, unknown: Iterable[str], sample: Mapping[str, Any]
) -> Iterable[Problem]:
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        lines.setdefault(node.name, node.lineno)
    for name in sorted(unknown, key=lambda name: lines.get(name, 1)):
        yield Problem(
            file, lines.get(name, 1), f"there is no `{name}` in this template{hint(name, sample)}"
        )


def _said(error: Exception, sample: Mapping[str, Any]) -> str:
    message = str(error) or type(error).__name__
    missing = message.rpartition("has no attribute ")[2].strip("'\"")
    if missing == message:
        return message
    options = {*_TARGET, *sample.get("query", {})} if "targets" in sample else set()
    return f"there is no attribute `{missing}`{hint(missing, sorted(options))}"


def _line(error: Exception) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    return (lines[-1] if lines else 1) or 1
