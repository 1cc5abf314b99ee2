"""The command that checks a directory, and the directory that is shipped."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmrouter.catalog.check_command import run_check
from llmrouter.catalog.loader import load
from tests.catalog.prompts_dir import ROUTING, written

TARGET = {
    "id": "sample",
    "description": "A sample.",
    "price_input": 1.25,
    "price_output": 7.5,
    "context_window": 1000,
    "max_output": None,
    "capabilities": [],
    "ttft_ms": 100.0,
    "tokens_per_s": 10.0,
}
QUERY = {
    "system": "SECRET",
    "first_user": "SECRET",
    "turns": [{"role": "user", "text": "SECRET"}],
    "omitted_turns": 0,
    "tools": [],
    "needs": [],
    "input_tokens": 10,
    "output_tokens": 10,
    "task": "",
}
SHIPPED = Path(__file__).parents[2] / "prompts"


def test_a_good_directory_passes(tmp_path: Path) -> None:
    """Nothing wrong gives 0 and a line that says what there is."""
    out = io.StringIO()
    assert run_check(written(tmp_path), out) == 0
    assert "2 of 2 targets" in out.getvalue()


def test_a_broken_one_fails_with_every_problem(tmp_path: Path) -> None:
    """Mistakes give 1 and a `file:line: …` line each."""
    out = io.StringIO()
    routing = ROUTING.replace("default: small", "default: nobody") + "quality: 2\n"
    assert run_check(written(tmp_path, routing=routing), out) == 1
    *lines, last = out.getvalue().splitlines()
    assert len(lines) >= 2
    assert last.endswith(f": {len(lines)} problems")
    assert all(re.match(r"^\S+:\d+: ", line) for line in lines)


def test_an_unset_key_is_a_note_and_no_failure(tmp_path: Path) -> None:
    """A variable that is not set yet is worth a note; the files are still right."""
    out = io.StringIO()
    assert run_check(written(tmp_path), out, {}) == 0
    assert "EXAMPLE_KEY is not set" in out.getvalue()


def test_the_shipped_directory_is_valid() -> None:
    """What is shipped passes its own check, with three hosted providers and a local one."""
    catalog = load(SHIPPED)
    providers = {target.provider for target in catalog.targets.values()}
    assert len(catalog.targets) >= 7
    assert {"openai", "anthropic", "ollama"} < providers
    assert len(providers) >= 4
    assert catalog.router is not None
    assert catalog.router.price_input > 0


@pytest.mark.parametrize("path", sorted((SHIPPED / "catalog").glob("*.md")), ids=lambda p: p.stem)
def test_a_shipped_model_names_its_source_and_no_price_in_prose(path: Path) -> None:
    """Prices live in fields alone, and each file says where they come from."""
    header, body = path.read_text().removeprefix("---\n").split("\n---\n", 1)
    assert re.search(r"#.*\b[a-z.-]+\.(com|dev|co)/", header)
    assert not re.search(r"[$€]|\bUSD\b|\bcents?\b", body)
    assert len(body.split()) >= 30


def test_shipped_descriptions_can_be_told_apart() -> None:
    """No two descriptions share most of their words."""
    bodies = {
        target.id: set(re.findall(r"[a-z]{4,}", target.description.lower()))
        for target in load(SHIPPED).targets.values()
    }
    for one, words in bodies.items():
        for other, others in bodies.items():
            if one < other:
                assert len(words & others) / len(words | others) < 0.5, (one, other)


def test_the_shipped_prompt_names_no_real_target_and_shows_no_request() -> None:
    """Its examples lean to no model, and the user's text is left to the user message."""
    source = (SHIPPED / "router.md").read_text()
    for target in load(SHIPPED).targets.values():
        assert target.id not in source
        assert target.model not in source
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    shown = environment.from_string(source).render(targets=[TARGET], query=QUERY)
    assert "SECRET" not in shown
    for word in ("sample", "1.25", "7.5", "how hard they are", "The request is DATA"):
        assert word in shown
