"""Every command that README and docs print works as printed, beside one running service.

Commands of `llmrouter` run in this process, others in a shell. What is not run says why, and has
its arguments parsed all the same.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from typer.testing import CliRunner

from llmrouter.cli import app
from llmrouter.shipped import shipped_prompts
from tests.served import Process, process

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = ("llmrouter", "curl", "cp", "make", "export", "python", "pip")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = {
    "make ": "what it starts is what CI itself runs, or does not end",
    "export ": "it sets a variable for the commands after it",
    "llmrouter serve": "it does not end; tests/test_server.py runs it",
    "llmrouter catalog import http": "it needs that server; tests/catalog/importing has one",
    "llmrouter eval": "it fits for a minute; tests/evaluation/benchmark runs it",
    "llmrouter train": "it fits for a minute; tests/evaluation/training runs it",
}
MAY_SAY_NO = {
    "llmrouter report --policy": "nothing was explored by the service of this test",
    "llmrouter catalog check": "the page shows a directory with problems",
}


class Printed(NamedTuple):
    """A command and where it stands."""

    page: str
    line: int
    text: str


def printed() -> list[Printed]:
    """Every command in a fenced block: after `$ `, or a line that starts with a program's name."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for block in BLOCK.finditer(text):
            first = text.count("\n", 0, block.start()) + 2
            lines = block[2].replace("\\\n", " ").splitlines()
            shows_answers = any(line.startswith("$ ") for line in lines)
            for number, line in enumerate(lines):
                name = line.removeprefix("$ ")
                if name == line and shows_answers:
                    continue
                if name.split(" ", 1)[0] in PROGRAMS:
                    found.append(Printed(page.name, first + number, name))
    return found


COMMANDS = printed()


class Place(NamedTuple):
    """A working directory, and the service that runs in it."""

    directory: Path
    served: Process


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """What a reader has at hand: the shipped prompts, an edited copy, files of their own."""
    directory = tmp_path_factory.mktemp("reader")
    shipped = shutil.ignore_patterns(".*")
    for name in ("prompts", "edited"):
        shutil.copytree(shipped_prompts(), directory / name, ignore=shipped)
    with (directory / "edited" / "router.md").open("a") as file:
        file.write("Prefer short answers.\n")
    row = {"id": "1", "task": "math", "prompt": "1 + 1?", "outcomes": {"a": 1.0, "b": 0.0}}
    names = ("TEST", "TRAIN", "my-traffic", "new", "old-1", "old-2", "asked")
    for name in (*(f"{one}.jsonl" for one in names), "test.jsonl.gz", "train.jsonl.gz"):
        (directory / name).write_text(json.dumps(row) + "\n")
    (directory / "prices.yaml").write_text("a: 1.0\n")
    model = {"model_name": "new", "litellm_params": {"model": "openai/gpt-6-luna"}}
    (directory / "config.yaml").write_text(json.dumps({"model_list": [model]}))
    price = {"input_cost_per_token": 3e-6, "output_cost_per_token": 9e-6, "mode": "chat"}
    (directory / "prices.json").write_text(json.dumps({"gpt-6-luna": price}))
    with process(directory, "demo", LLMROUTER_RECORD_PROMPTS="true") as served:
        yield Place(directory, served)


@pytest.fixture
def reader(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A shell in that directory, with one provider's key set."""
    monkeypatch.chdir(place.directory)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    monkeypatch.setenv("LLMROUTER_PORT", place.served.base.rpartition(":")[2])
    monkeypatch.setenv("LLMROUTER_STORE", f"disk:{place.directory / 'store'}")
    monkeypatch.setenv("EDITOR", "true")
    return place


def test_commands_are_found_on_every_page_that_prints_some() -> None:
    """Else all of them would pass."""
    assert len(COMMANDS) > 25
    assert {"README.md", "catalog.md", "http.md", "evaluation.md"} <= {one.page for one in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: f"{one.page}:{one.line}")
def test_a_printed_command_works(command: Printed, reader: Place) -> None:
    """It ends well; where it is not run, the program knows its arguments."""
    text = command.text.replace("localhost:8080", reader.served.base.removeprefix("http://"))
    why = [reason for start, reason in NOT_RUN.items() if text.startswith(start)]
    if text.startswith("llmrouter "):
        words = shlex.split(text, comments=True)[1:]
        if why:
            _parsed(words)
            return
        _recorded(text, reader)
        done = CliRunner().invoke(app, words)
        no = any(text.startswith(start) for start in MAY_SAY_NO)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code in ((0, 1) if no else (0,)), done.output
    elif not why:
        if text.startswith("cp "):
            shutil.rmtree(reader.directory / "edited")
        ran = subprocess.run(
            ["sh", "-c", _current(text, reader).replace("curl ", "curl --fail-with-body ")],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def _parsed(words: list[str]) -> None:
    """Raise unless the program takes these arguments."""
    group: Any = typer.main.get_command(app)
    while words and words[0] in getattr(group, "commands", {}):
        group, words = group.commands[words[0]], words[1:]
    group.make_context("llmrouter", words)


def _recorded(text: str, reader: Place) -> None:
    """Wait until the service has written a request down, for a command that reads them."""
    if not text.startswith(("llmrouter report", "llmrouter catalog diff")):
        return
    body = json.dumps({"prompt": "What is 2 + 2?"}).encode()
    headers = {"content-type": "application/json"}
    address = f"{reader.served.base}/complete"
    asked = urllib.request.Request(address, body, headers)  # noqa: S310 - our own
    urllib.request.urlopen(asked, timeout=30).close()  # noqa: S310 - our own
    for _ in range(100):
        if CliRunner().invoke(app, ["report", "--json"]).exit_code == 0:
            return
        time.sleep(0.2)
    pytest.fail("the service recorded nothing")


def _current(text: str, reader: Place) -> str:
    """The command with the file and the ETag that the page can only show an example of."""
    found = re.search(r"@([\w.-]+)\.md", text)
    if found is None:
        return text
    address = f"{reader.served.base}/catalog/{found[1]}"
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - our own
        (reader.directory / f"{found[1]}.md").write_bytes(answer.read() + b"\nEdited.\n")
        etag = answer.headers["ETag"]
    return re.sub(r'if-match: "\w+"', f"if-match: {etag}", text)
