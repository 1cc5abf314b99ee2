"""Settings: where they come from, what wins, and what they never show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from llmrouter.environment import load_env
from llmrouter.settings import Settings, base_of, unknown
from tests.catalog.prompts_dir import LARGE, ROUTING, SMALL, written
from tests.served import environment, process


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """What a file says is a default; a line without a value says nothing."""
    path = tmp_path / ".env"
    path.write_text("# ours\nSET=file\nexport UNSET='file = \"x\"'\nNOTHING\nEMPTY=\n")
    environ = {"SET": "environment"}
    load_env(path, environ)
    assert environ == {"SET": "environment", "UNSET": 'file = "x"', "EMPTY": ""}
    load_env(tmp_path / "absent", environ)
    assert len(environ) == 3


def test_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither printed nor in the error about another setting."""
    for name in ("API_KEYS", "ADMIN_KEY"):
        monkeypatch.setenv(f"LLMROUTER_{name}", "alice:hunter2")
    monkeypatch.setenv("LLMROUTER_STORE", "redis://user:hunter2@host/0")
    settings = Settings(_env_file=None)
    assert "hunter2" not in f"{settings!r} {settings}"
    monkeypatch.setenv("LLMROUTER_PORT", "many")
    with pytest.raises(ValueError, match="port") as caught:
        Settings(_env_file=None)
    assert "hunter2" not in str(caught.value)


async def test_a_providers_key_in_the_file_reaches_the_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file for everything: the service's own keys and those of others."""
    monkeypatch.delenv("EXAMPLE_KEY", raising=False)
    seen: list[str | None] = []

    async def complete(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        message = {"role": "assistant", "content": "four"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"id": "c", "object": "chat.completion", "choices": [choice]})

    upstream = web.Application()
    upstream.router.add_post("/v1/chat/completions", complete)
    async with TestServer(upstream) as server:
        base = str(server.make_url("/v1"))
        over = {
            name: text.replace("https://api.example.com/v1", base)
            for name, text in (("small", SMALL), ("large", LARGE))
        }
        written(tmp_path / "prompts", routing=ROUTING.split("router:")[0], **over)
        (tmp_path / ".env").write_text(
            "EXAMPLE_KEY=sk-from-the-file\nLLMROUTER_API_KEYS=alice:alice-key-0123\n"
        )
        with process(tmp_path, "serve") as started:
            async with (
                aiohttp.ClientSession() as session,
                session.post(
                    f"{started.base}/complete",
                    json={"prompt": "2+2?"},
                    headers={"x-api-key": "alice-key-0123"},
                ) as response,
            ):
                assert response.status == 200
        log = started.log.read_text()
    assert seen == ["Bearer sk-from-the-file"]
    assert "sk-from" not in log
    assert "alice-key" not in log


def command(directory: Path, *arguments: str, **over: str) -> subprocess.CompletedProcess[str]:
    """One run of the command line."""
    return subprocess.run(
        [sys.executable, "-m", "llmrouter", *arguments],
        env=environment(directory, **over), cwd=directory, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def test_a_log_level_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    """Said in one line, wherever it was set."""
    (tmp_path / ".env").write_text("LLMROUTER_LOG_LEVEL=loud\n")
    done = command(tmp_path, "catalog", "check")
    assert done.returncode != 0
    assert "LLMROUTER_LOG_LEVEL cannot be LOUD" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_is_made_with_its_entry(tmp_path: Path) -> None:
    """In a pipe two lines: the secret, and what knows it by its hash."""
    from llmrouter.auth.api_keys import Authenticator, parse_keys

    done = command(tmp_path, "key", "alice", "--tier", "pro")
    assert done.returncode == 0
    assert done.stderr == ""
    secret, entry = done.stdout.split()
    assert secret not in entry
    caller = Authenticator(parse_keys(entry)).caller({"x-api-key": secret})
    assert (caller.name, caller.tier) == ("alice", "pro")
    assert command(tmp_path, "key", "al ice").returncode == 2


def test_a_setting_that_does_not_fit_is_named_with_its_variable(tmp_path: Path) -> None:
    """One line each, in the words of who set it."""
    done = command(tmp_path, "serve", LLMROUTER_PORT="tcp://10.0.0.1:80", LLMROUTER_WORKERS="0")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(
        "llmrouter: LLMROUTER_PORT: 'tcp://10.0.0.1:80' cannot be it: input "
    )
    assert lines[1].startswith("LLMROUTER_WORKERS: '0' cannot be it: ")


def test_a_misspelt_variable_is_found() -> None:
    """It would be ignored, and what it was meant to close would stay open."""
    environ = {
        "LLMROUTER_API_KEY": "alice:k",
        "LLMROUTER_COLOUR": "red",
        "LLMROUTER_API_KEYS": "alice:k",
        "LLMROUTER_LOG_LEVEL": "INFO",
        "llmrouter_port": "1",
        "PATH": "/",
    }
    assert unknown(environ) == [
        "there is no setting LLMROUTER_API_KEY; is it LLMROUTER_API_KEYS?",
        "there is no setting LLMROUTER_COLOUR",
    ]


@pytest.mark.parametrize(
    ("given", "base"), [("", ""), ("/", ""), ("/llm", "/llm"), ("/team/llm/", "/team/llm")]
)
def test_a_base_path_ends_without_a_slash(given: str, base: str) -> None:
    """However it was written."""
    assert base_of(Settings(_env_file=None, base_path=given).base_path) == base


@pytest.mark.parametrize("given", ["llm", "//llm", "/llm?x", "/{llm}", "http://x/llm", "/a//b"])
def test_what_is_no_base_path_is_refused(given: str) -> None:
    """Before anything listens."""
    with pytest.raises(ValueError, match="base_path"):
        Settings(_env_file=None, base_path=given)
