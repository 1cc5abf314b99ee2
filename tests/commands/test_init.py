"""`llmrouter init`: the questions, and the flags that answer them."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmrouter.catalog.starter import key_variables
from llmrouter.commands.init import InitOptions, init


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set but what a test sets."""
    for name in key_variables():
        monkeypatch.delenv(name, raising=False)


def providers(directory: Path) -> set[str]:
    """The variables that the catalog's targets name."""
    texts = [path.read_text() for path in (directory / "catalog").glob("*.md")]
    return {name for name in key_variables() for text in texts if f"api_key_env: {name}" in text}


def test_each_variable_is_asked_about_and_what_is_set_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A yes keeps the targets and reminds of the variable, a no leaves out even what is set."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    asked: dict[str, bool] = {}

    def ask(question: str, default: bool) -> bool:
        asked[question.split(" ")[0]] = default
        return question.startswith("ANTHROPIC_API_KEY")

    assert init(InitOptions(tmp_path / "p", ask=ask)) == 0
    assert asked == {name: name == "OPENAI_API_KEY" for name in key_variables()}
    assert providers(tmp_path / "p") == {"ANTHROPIC_API_KEY"}
    said = capsys.readouterr().out
    assert "Set before you serve, here or in .env: ANTHROPIC_API_KEY" in said
    assert "left out gpt-6-luna: OPENAI_API_KEY is not set" in said


def test_flags_answer_where_nobody_can_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is set and what `--key` names is there; a variable of no target is wrong usage."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    assert init(InitOptions(tmp_path / "p", keys=("GEMINI_API_KEY",))) == 0
    assert providers(tmp_path / "p") == {"OPENAI_API_KEY", "GEMINI_API_KEY"}
    assert init(InitOptions(tmp_path / "q", keys=("OPENAI_KEY",))) == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().err
    assert not (tmp_path / "q").exists()


def test_the_command_asks_on_a_terminal(tmp_path: Path) -> None:
    """Run in a pseudo-terminal, it waits for an answer to each question."""
    ours, theirs = pty.openpty()
    keys = set(key_variables())
    kept = {name: value for name, value in os.environ.items() if name not in keys}
    process = subprocess.Popen(
        [sys.executable, "-m", "llmrouter", "init", "p"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env={**kept, "TERM": "dumb"},
    )
    os.close(theirs)
    said, answered, deadline = "", 0, time.monotonic() + 120
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                read = os.read(ours, 4096).decode()
            except OSError:  # the other side is closed
                break
            if not read:
                break
            said += read
            if said.count("]: ") > answered:
                answered += 1
                os.write(ours, b"y\n" if "OPENAI_API_KEY" in said.splitlines()[-1] else b"\n")
        assert process.wait(60) == 0, said
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert answered == len(keys)
    assert providers(tmp_path / "p") == {"OPENAI_API_KEY"}
