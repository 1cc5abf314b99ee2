"""Claude Code, Codex and opencode edit a file through the router, without their vendors' network.

The simulated model is told in the prompt which tools to call (`simulator/script.py`).
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.examples.conftest import EXAMPLES, FORMATS, Run

AGENTS = EXAMPLES / "agents"
BOTH_WAYS = ["auto", FORMATS["chat"]]


def prompt(*calls: tuple[str, dict[str, str]]) -> str:
    """A task, and the calls by which the simulated model fulfils it."""
    marks = [f"[simulate {name} {json.dumps(arguments)}]" for name, arguments in calls]
    return " ".join(["Change the greeting in greeting.txt.", *marks])


@pytest.fixture
def greeting(tmp_path: Path) -> Path:
    """The file that the agents are to change."""
    path = tmp_path / "greeting.txt"
    path.write_text("hello\n")
    return path


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Variables that give an agent a home of its own."""
    names = ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
    names += ("XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME")
    folders = {name: tmp_path / ".home" / name for name in names}
    for folder in folders.values():
        folder.mkdir(parents=True)
    return {name: str(folder) for name, folder in folders.items()}


def decisions(router: str) -> list[dict[str, Any]]:
    """The newest decisions of the service."""
    with urllib.request.urlopen(f"{router}/decisions?limit=10", timeout=30) as answer:  # noqa: S310
        found: list[dict[str, Any]] = json.load(answer)["decisions"]
    return found


@pytest.mark.parametrize("model", BOTH_WAYS)
def test_claude_code_reads_and_edits_a_file(
    run: Run, router: str, greeting: Path, home: dict[str, str], model: str
) -> None:
    """Two calls of tools and an answer; the loop stays on the target that began it."""
    edit = {"file_path": str(greeting), "old_string": "hello", "new_string": "good morning"}
    task = prompt(("Read", {"file_path": str(greeting)}), ("Edit", edit))
    printed = run(AGENTS / "claude-code.sh", task, model=model, **home)
    assert greeting.read_text() == "good morning\n"
    assert "simulated" in printed
    latest = decisions(router)[:3]
    assert len({decision["target"] for decision in latest}) == 1
    if model == "auto":
        assert [decision["source"] for decision in latest[:2]] == ["session", "session"]
    else:
        assert latest[0]["target"] == model


@pytest.mark.parametrize("model", [*BOTH_WAYS, FORMATS["responses"]])
def test_codex_runs_a_command(
    run: Run, router: str, greeting: Path, home: dict[str, str], model: str
) -> None:
    """It runs what the model calls for, in a sandbox of its own where the machine has one."""
    task = prompt(("exec_command", {"cmd": "sed -i 's/hello/good morning/' greeting.txt"}))
    printed = run(
        AGENTS / "codex.sh", task, model=model, CODEX_SANDBOX="danger-full-access", **home
    )
    assert greeting.read_text() == "good morning\n"
    assert "simulated" in printed
    if model != "auto":
        assert decisions(router)[0]["target"] == model


def test_opencode_edits_a_file(run: Run, router: str, greeting: Path, home: dict[str, str]) -> None:
    """A call of a tool and an answer; the title that it asks for on the side is told apart."""
    edit = {"filePath": str(greeting), "oldString": "hello", "newString": "good morning"}
    printed = run(AGENTS / "opencode.sh", prompt(("edit", edit)), **home)
    assert greeting.read_text() == "good morning\n"
    assert "simulated" in printed
    rules = [decision["reason"] for decision in decisions(router) if decision["source"] == "rules"]
    assert any("agents-side-tasks" in reason for reason in rules)
