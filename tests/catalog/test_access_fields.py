"""How a target is reached, as its catalog file says it."""

from __future__ import annotations

import pytest

from llmrouter.catalog.frontmatter import split
from llmrouter.catalog.target_file import read_target
from llmrouter.catalog.yaml_reader import Sheet
from llmrouter.domain.target import Endpoint, Target
from tests.catalog.prompts_dir import SMALL


def read(lines: str) -> tuple[Target | None, list[str]]:
    """The target whose front matter has these lines too, and what was wrong."""
    sheet = Sheet("small.md")
    text = SMALL.replace("context_window:", f"{lines}\ncontext_window:", 1)
    parts = split("small.md", text)
    sheet.first_line = parts.front_line
    target = read_target(sheet, "small", parts)
    return target, [problem.message for problem in sheet.problems]


def test_headers_query_and_body_members_are_read() -> None:
    """Numbers in headers and query are text; members keep the types of JSON."""
    target, problems = read(
        "headers: {x-title: router, x-version: 2}\n"
        "query: {api-version: 2026-01-01}\n"
        "params: {temperature: 0.2, provider: {order: [a, b]}}\n"
        "overrides: {reasoning_effort: low}"
    )
    assert problems == []
    assert target is not None
    assert target.access.headers == {"x-title": "router", "x-version": "2"}
    assert target.access.query == {"api-version": "2026-01-01"}
    assert target.access.params == {"temperature": 0.2, "provider": {"order": ["a", "b"]}}
    assert target.access.overrides == {"reasoning_effort": "low"}


def test_the_base_url_is_the_first_endpoint_and_lends_its_key() -> None:
    """An endpoint without a key of its own uses the target's."""
    target, problems = read("endpoints:\n  - {base_url: 'https://b.example/v1', weight: 2}")
    assert problems == []
    assert target is not None
    assert target.access.endpoints == (
        Endpoint("https://api.example.com/v1", "EXAMPLE_KEY"),
        Endpoint("https://b.example/v1", "EXAMPLE_KEY", 2.0),
    )


def test_aliases_are_other_names() -> None:
    """Names that clients use already."""
    target, _ = read("aliases: [gpt-4o, openai/gpt-4o]")
    assert target is not None
    assert target.aliases == ("gpt-4o", "openai/gpt-4o")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("headers: {Authorization: x}", "cannot set Authorization"),
        ("headers: {'a b': x}", "cannot be sent as a header"),
        ("headers: {x-key: sk-12345678901234567890}", "holds a key under x-key"),
        ("headers: [a]", "must be a block"),
        ("params: {model: other}", "cannot set `model`"),
        ("aliases: [auto]", "cannot be an alias"),
        ("api_key_file: keys/openai", "a key has one source"),
        ("endpoints:\n  - {weight: 1}", "`endpoints[0].base_url` is missing"),
        ("endpoints:\n  - {base_url: 'https://b.example/v1', weight: 0}", "must be between 0 and"),
        ("proxy: socks5://p.example", "must be the http:// address"),
        ("proxy: 'http://me:pw@p.example'", "holds credentials"),
    ],
)
def test_what_cannot_be_sent_is_refused(lines: str, said: str) -> None:
    """The problem names the key and what to write instead."""
    target, problems = read(lines)
    assert target is None
    assert any(said in problem for problem in problems), problems
