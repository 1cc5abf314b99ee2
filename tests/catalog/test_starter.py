"""What `llmrouter init` writes: a catalog that can serve with the keys that are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrouter.catalog.loader import load, load_all
from llmrouter.catalog.starter import NoKeys, starter, write
from llmrouter.shipped import shipped_prompts


def nothing_listens(base_url: str) -> bool:
    """No local server runs."""
    return False


@pytest.mark.parametrize(
    "variable", ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "DEEPSEEK_API_KEY"]
)
def test_one_key_is_enough_for_a_catalog_without_warnings(variable: str, tmp_path: Path) -> None:
    """Targets, default, rules, cascade and router LLM all work with the one provider."""
    environ = {variable: "secret"}
    made = starter(environ, nothing_listens)
    write(tmp_path / "prompts", made.files)
    loaded = load_all(tmp_path / "prompts", environ=environ)
    assert set(loaded.catalog.targets) == set(made.kept)
    keyed = [t for t in loaded.catalog.enabled if t.api_key_env is not None]
    assert keyed
    assert {t.api_key_env for t in keyed} == {variable}
    assert loaded.catalog.router is not None
    assert loaded.catalog.router.api_key_env == variable
    assert [w for w in loaded.warnings if "is not set" in w.message] == []
    assert not any("secret" in text for text in made.files.values())


def test_what_is_left_out_says_why(tmp_path: Path) -> None:
    """A missing key is named; so is a local server that does not answer."""
    made = starter({"OPENAI_API_KEY": "k"}, nothing_listens)
    assert made.left_out["claude-haiku-5-5"] == "ANTHROPIC_API_KEY is not set"
    assert made.left_out["qwen3.5-9b"] == "nothing listens at http://localhost:11434/v1"


def test_a_local_server_that_answers_needs_no_key(tmp_path: Path) -> None:
    """Its target is kept, and it can be the only one."""
    made = starter({}, lambda base_url: "11434" in base_url)
    assert "qwen3.5-9b" in made.kept
    write(tmp_path / "prompts", made.files)
    assert load(tmp_path / "prompts").default == "qwen3.5-9b"


def test_without_any_key_nothing_is_written() -> None:
    """The message names the variables that would do."""
    with pytest.raises(NoKeys, match=r"ANTHROPIC_API_KEY, .*OPENAI_API_KEY"):
        starter({"OPENAI_API_KEY": ""}, nothing_listens)


def test_everything_is_the_shipped_directory_as_it_is() -> None:
    """`--all` changes no byte."""
    made = starter({}, nothing_listens, everything=True)
    directory = shipped_prompts()
    assert all((directory / name).read_text() == text for name, text in made.files.items())
    assert {"routing.yaml", "router.md", "verifier.md"} <= set(made.files)
    assert made.left_out == {}


def test_a_directory_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """Nobody's edits are written over."""
    (tmp_path / "mine.md").write_text("mine")
    with pytest.raises(FileExistsError):
        write(tmp_path, {"routing.yaml": "default: x\n"})
    assert [path.name for path in tmp_path.iterdir()] == ["mine.md"]
