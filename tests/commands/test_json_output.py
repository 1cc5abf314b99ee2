"""`--json` means one thing: one document on standard output and nothing else, of every command."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
import typer
from typer.testing import CliRunner, Result

from llmrouter.catalog.editor import save, target_edit
from llmrouter.cli import app
from llmrouter.domain.decision import Source
from llmrouter.evaluation.benchmark import command as benchmark
from llmrouter.evaluation.benchmark.evaluate import Evaluated
from llmrouter.evaluation.benchmark.results import SetResult
from llmrouter.evaluation.training import command as training
from llmrouter.store.factory import open_store
from llmrouter.util.arguments import with_file
from tests.catalog.prompts_dir import ROUTING, SMALL, written
from tests.evaluation.journaled import journaled

STARTS = {"serve", "demo", "run", "sim"}
"""Commands that start something and print no result."""
CANARY = {"status": "none", "files": []}
STATS = {"window": "hour", "spend_usd": 0.0, "decisions": []}


class Answers(BaseHTTPRequestHandler):
    """A service that answers every call of these commands."""

    def answer(self) -> None:
        """What the path is about."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps(CANARY if self.path.startswith("/canary") else STATS).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def commands(group: object, path: str = "") -> set[str]:
    """Every command by its words."""
    inside: dict[str, Any] = getattr(group, "commands", {})
    if not inside:
        return {path.strip()}
    found: set[str] = set()
    for name, inner in inside.items():
        found |= commands(inner, f"{path} {name}")
    return found


SET = SetResult(
    "rows", 12, "as given", "USD", "recorded", "large", 1.0, 0.1, 0.0, (), (), (), (), ()
)


def _made(material: Any) -> Any:
    model = SimpleNamespace(encoder=SimpleNamespace(name="hashing"), targets=("small", "large"))
    held_out = np.zeros((len(material.examples), 2))
    made = training._Made(material, SimpleNamespace(model=model, held_out=held_out), [])
    snapshot = SimpleNamespace(to_bytes=lambda: b"a model")
    return SimpleNamespace(snapshot=lambda: snapshot, told=made.told, document=made.document)


def _rows(directory: Path) -> str:
    path = directory / "rows.jsonl"
    rows = [
        {"id": str(n), "task": "math", "prompt": f"What is {n} + {n}?"}
        | {"outcomes": {"small": float(n % 2), "large": 1.0}}
        for n in range(12)
    ]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


def _prices(directory: Path) -> str:
    path = directory / "prices.json"
    price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "mode": "chat"}
    about = {"litellm_provider": "openai", "max_input_tokens": 8000}
    path.write_text(json.dumps({"new-1": {**price, **about}}))
    return str(path)


def _edited(directory: Path) -> str:
    return str(written(directory / "edited", small=SMALL.replace("8000", "9000")))


def _recorded(directory: Path) -> list[str]:
    async def record() -> None:
        store = open_store(f"disk:{directory / 'store'}", shared=True)
        await journaled([{"prompt": "What is 2 + 2?"}], record=True, store=store, source=Source.LLM)
        await store.close()

    asyncio.run(record())
    return []


def _undoable(directory: Path) -> list[str]:
    save(directory / "prompts", target_edit("small", SMALL.replace("8000", "9000")))
    return ["small"]


Arguments = Callable[[Path, str], list[str]]
CASES: dict[str, Arguments] = {
    "init": lambda at, _: [str(at / "new"), "--all"],
    "route": lambda at, _: ["What is 2 + 2?"],
    "key": lambda at, _: ["alice", "--tier", "pro"],
    "top": lambda at, url: ["--url", url],
    "train": lambda at, _: [_rows(at)],
    "eval": lambda at, _: [_rows(at), "--draws", "20"],
    "report": lambda at, _: _recorded(at),
    "catalog check": lambda at, _: [],
    "catalog diff": lambda at, _: ["--to", _edited(at)],
    "catalog import": lambda at, _: [_prices(at), "--only", "new-*", "--dry-run"],
    "catalog undo": lambda at, _: _undoable(at),
    "canary start": lambda at, url: [_edited(at), "--url", url],
    "canary status": lambda at, url: ["--url", url],
    "canary promote": lambda at, url: ["--url", url],
    "canary stop": lambda at, url: ["--url", url],
}


def test_every_command_that_prints_a_result_is_here() -> None:
    """A new one cannot forget `--json`."""
    assert set(CASES) == commands(typer.main.get_command(app)) - STARTS


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a small catalog and a store."""
    monkeypatch.chdir(tmp_path)
    routing = ROUTING.split("router:")[0]
    written(tmp_path / "prompts", routing=routing)
    monkeypatch.setenv("LLMROUTER_PROMPTS", str(tmp_path / "prompts"))
    monkeypatch.setenv("LLMROUTER_STORE", f"disk:{tmp_path / 'store'}")
    # what is fitted takes seconds and is tested where it belongs; here what is printed counts
    monkeypatch.setattr(benchmark, "evaluate", lambda one, *_: Evaluated(one.rows, (), (), (), SET))
    monkeypatch.setattr(training, "_fit", lambda material, *_: _made(material))
    return tmp_path


def ran(name: str, *arguments: str) -> Result:
    """A command to its end."""
    return CliRunner().invoke(app, [*name.split(), *arguments])


@pytest.mark.parametrize("name", CASES)
def test_json_is_one_document_and_nothing_else(name: str, place: Path, url: str) -> None:
    """On standard output, whatever the command is about."""
    done = ran(name, *CASES[name](place, url), "--json")
    assert done.exit_code == 0, done.output
    assert isinstance(orjson.loads(done.stdout), dict)


def test_problems_are_part_of_the_document(place: Path) -> None:
    """With the exit code that says no."""
    (place / "prompts" / "routing.yaml").write_text("default: nobody\n")
    done = ran("catalog check", "--json")
    answer = orjson.loads(done.stdout)
    assert (done.exit_code, answer["ok"]) == (1, False)
    assert answer["problems"][0]["line"] == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("catalog undo", ["small"]),
        ("report", []),
        ("catalog import", ["absent.json"]),
        ("train", ["--rollback"]),
        ("top", ["--url", "http://127.0.0.1:1"]),
    ],
)
def test_what_fails_says_so_on_standard_error_alone(
    name: str, arguments: list[str], place: Path
) -> None:
    """A program that reads the document gets none."""
    done = ran(name, *arguments, "--json")
    assert done.exit_code in (1, 2)
    assert (done.stdout, bool(done.stderr.strip())) == ("", True)


def test_eval_and_report_write_a_file_that_is_named(place: Path) -> None:
    """Beside the tables; a data set that follows is none."""
    path = place / "out.json"
    done = ran("report", "--json", str(path), *_recorded(place))
    assert done.exit_code == 0
    assert orjson.loads(path.read_bytes())["schema"] == 2
    assert done.stdout
    assert with_file([], "--json") == []
    assert with_file(["--json", "a.jsonl"], "--json") == ["--json", "-", "a.jsonl"]
    assert with_file(["a.jsonl", "--json"], "--json") == ["a.jsonl", "--json", "-"]
    assert with_file(["--json", "--seed", "1"], "--json") == ["--json", "-", "--seed", "1"]
    assert with_file(["--json", "out.json", "a"], "--json") == ["--json", "out.json", "a"]
