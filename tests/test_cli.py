"""The commands as a user types them: what they print, where, and how they exit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from llmrouter.settings import Settings
from tests.catalog.prompts_dir import ROUTING, written
from tests.served import environment, free_port, process

RULES_ONLY = ROUTING.split("router:")[0] + (
    "rules:\n  - {name: sums, when: {task: math}, route: large}\n"
)


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str


class Shell:
    """Runs commands in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.prompts = written(directory / "prompts", routing=RULES_ONLY)

    def run(self, *arguments: str, said: str = "", **over: str) -> Ran:
        """One command to its end; `said` is its standard input."""
        done = subprocess.run(
            [sys.executable, "-m", "llmrouter", *arguments],
            env=environment(self.directory, **over), cwd=self.directory, input=said,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell beside a small valid catalog without a router LLM."""
    return Shell(tmp_path)


def test_help_names_every_command(shell: Shell) -> None:
    """And what they do, in plain words; asking for help is no failure."""
    ran = shell.run("--help")
    assert ran.code == 0
    for command in ("serve", "demo", "sim", "route", "catalog", "eval"):
        assert command in ran.out
    assert "fd" not in shell.run("serve", "--help").out.replace("fully", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["route"],
        ["route", "hi", "--jsn"],
        ["route", ""],
        ["route", "-"],
        ["route", "\udcff"],
        ["key", ""],
        ["key", "a,b"],
        ["key", "a", "--tier", "free,b:k"],
        ["report", "--quality", "0.5"],
        ["report", "--policy", "all", "--export", "x.jsonl"],
        ["serve", "--port", "99999"],
        ["serve", "--workers", "0"],
        ["serve", "--port", "eighty"],
        ["serve", "--host", "0.0.0.0"],
        ["sim", "--error-rate", "3"],
        ["sim", "--latency-scale", "-1"],
    ],
)
def test_wrong_usage_is_2(shell: Shell, arguments: list[str]) -> None:
    """With the reason on standard error and nothing on standard output."""
    ran = shell.run(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.strip()
    assert "Traceback" not in ran.err


def test_a_setting_that_cannot_be_is_wrong_usage_of_any_command(shell: Shell) -> None:
    """Not an answer of no."""
    ran = shell.run("route", "hi", LLMROUTER_STORE="mongodb://x")
    assert (ran.code, ran.out) == (2, "")
    assert "LLMROUTER_STORE: 'mongodb://x' is no store" in ran.err


def test_route_explains_itself(shell: Shell) -> None:
    """Target, source, why, and what it would take."""
    ran = shell.run("route", "What is 12 * 13 + 7?")
    assert ran.code == 0
    first, why, cost = ran.out.splitlines()[:3]
    assert first == "large  (rules, task math)"
    assert why == "  why: rule 'sums' matched"
    assert cost.startswith("  about $0.0")


def test_route_json_is_the_decision_and_nothing_else(shell: Shell) -> None:
    """A pipe can read it; logs go elsewhere."""
    ran = shell.run("route", "--json", "-", said="What is 12 * 13 + 7?")
    assert ran.code == 0
    decision = orjson.loads(ran.out)
    assert (decision["target"], decision["source"]) == ("large", "rules")
    assert decision["decision_id"].startswith("dec_")


def test_route_falls_back_when_the_router_llm_is_not_there(shell: Shell) -> None:
    """An unreachable router LLM is no failure: the default decides, and it says why."""
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    written(shell.prompts, routing=ROUTING.replace("https://api.example.com/v1", nowhere))
    ran = shell.run("route", "--json", "Tell me about horses.", EXAMPLE_KEY="k")
    assert ran.code == 0
    decision = orjson.loads(ran.out)
    assert (decision["target"], decision["source"]) == ("small", "default")
    assert "(after " in decision["reason"]


@pytest.mark.parametrize("arguments", [["route", "hi"], ["serve"], ["serve", "--workers", "2"]])
@pytest.mark.parametrize("state", ["missing", "empty", "half-edited"])
def test_without_a_catalog_it_says_so_and_is_1(
    shell: Shell, arguments: list[str], state: str
) -> None:
    """What is missing or wrong, and where; no stack of ours."""
    directory = shell.directory / "other"
    if state != "missing":
        directory.mkdir()
    if state == "half-edited":
        written(directory, routing="default: sma\n")
    if arguments[0] == "serve":
        arguments = [*arguments, "--port", str(free_port())]
    ran = shell.run(*arguments, "--prompts", str(directory))
    assert ran.code == 1
    assert str(directory) in ran.err
    assert "Traceback" not in ran.err
    if state == "half-edited":
        assert "routing.yaml:1: " in ran.err
        assert "sma" in ran.err


def test_catalog_check(shell: Shell) -> None:
    """0 for a good one, 1 with `file:line:` for a broken one."""
    assert shell.run("catalog", "check").code == 0
    assert shell.run("catalog", "check", str(shell.prompts)).code == 0
    (shell.prompts / "routing.yaml").write_text("default: small\nquality: 7\n")
    ran = shell.run("catalog", "check", str(shell.prompts))
    assert ran.code == 1
    assert "routing.yaml:2: " in ran.out


def test_the_shipped_catalog_is_valid(shell: Shell) -> None:
    """What a newcomer starts from."""
    shipped = Path(__file__).resolve().parents[1] / "prompts"
    ran = shell.run("catalog", "check", str(shipped))
    assert ran.code == 0, ran.out


def test_an_address_in_use_is_said(shell: Shell) -> None:
    """By its address."""
    with process(shell.directory, "serve") as started:
        port = started.base.rsplit(":", 1)[1]
        ran = shell.run("serve", "--port", port)
    assert ran.code == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in ran.err


@pytest.fixture
def demo(shell: Shell) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A demo in its own process, ended whatever happens."""
    port = free_port()
    started = subprocess.Popen(
        [sys.executable, "-m", "llmrouter", "demo", "--port", str(port)],
        env=environment(shell.directory), cwd=shell.directory, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    yield started, port
    if started.poll() is None:
        started.kill()
    started.wait()
    if started.stdout is not None:
        started.stdout.close()


def alive(pid: int) -> bool:
    """Whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_demo_shows_what_to_try_and_takes_its_simulator_along(
    demo: tuple[subprocess.Popen[str], int],
) -> None:
    """Address and three curl lines, each of which works; SIGTERM ends both processes with 0."""
    started, port = demo
    assert started.stdout is not None
    lines: list[str] = []
    watchdog = threading.Timer(60, started.kill)
    watchdog.start()
    for line in started.stdout:
        lines.append(line)
        if "serving on" in line:
            break
    text = "".join(lines)
    assert f"llmrouter is at http://127.0.0.1:{port}" in text
    assert "SIMULATED" in text
    commands = [part for part in text.replace("\\\n", " ").splitlines() if "curl" in part]
    assert len(commands) == 3
    for command in commands if shutil.which("curl") else ():
        answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout
        assert '"target"' in answer or '"choices"' in answer
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    assert len(children) == 1
    started.send_signal(signal.SIGTERM)
    assert started.wait(60) == 0
    watchdog.cancel()
    assert not alive(int(children[0]))


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each under its documented name; secrets do not print themselves."""
    monkeypatch.setenv("LLMROUTER_PORT", "9999")
    monkeypatch.setenv("LLMROUTER_API_KEYS", "a:secret-key-1:pro")
    monkeypatch.setenv("LLMROUTER_CACHE_TTL_S", "60")
    monkeypatch.setenv("LLMROUTER_RECORD_PROMPTS", "true")
    settings = Settings(_env_file=None)
    assert (settings.port, settings.cache_ttl_s, settings.record_prompts) == (9999, 60.0, True)
    assert "secret-key-1" not in repr(settings)


def test_catalog_diff_compares_two_directories(shell: Shell) -> None:
    """What is recorded in the store of the settings is replayed; without records it says how to."""
    edited = written(shell.directory / "edited", routing=RULES_ONLY.replace("math", "code"))
    ran = shell.run("catalog", "diff", "--to", str(edited))
    assert ran.code == 0
    assert ran.out.startswith("rule sums: when.task [math] → [code]\n")
    assert "LLMROUTER_RECORD_PROMPTS=true" in ran.out
    shell.run("route", "What is 12 * 13 + 7?", LLMROUTER_RECORD_PROMPTS="true")
    ran = shell.run("catalog", "diff", "--to", str(edited))
    assert "replayed 1 recorded since" in ran.out
    assert "large → small" in ran.out
    assert ran.err == ""


@pytest.mark.parametrize(
    "arguments",
    [[], ["--to", "nowhere"], ["nowhere", "--to", "prompts"], ["--to", "prompts", "--last", "0"]],
)
def test_catalog_diff_used_wrongly_is_2(shell: Shell, arguments: list[str]) -> None:
    """A directory that is not there is no edited catalog."""
    ran = shell.run("catalog", "diff", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.strip()


def test_catalog_undo_without_an_edit_is_1(shell: Shell) -> None:
    """The answer is no, on standard output."""
    ran = shell.run("catalog", "undo", "small")
    assert (ran.code, ran.out) == (
        1, "no edit of 'small' is known, so there is nothing to undo\n",
    )  # fmt: skip
    assert shell.run("catalog", "undo").code == 2
