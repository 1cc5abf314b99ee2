"""One running service for all examples: `llmrouter demo` over the shipped catalog.

The catalog gets one more target, as none that is shipped speaks Responses.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmrouter.shipped import shipped_prompts
from tests.served import process

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
TOOLS = ROOT / ".venv-examples" / "bin"
RESPONSES = """\
---
model: gpt-6.2-sol
provider: openai
base_url: https://api.openai.com/v1
protocol: openai-responses
price: {input: 2.00, output: 10.00}
context_window: 272000
max_output: 128000
capabilities: [tools, json_schema, vision, reasoning]
---
A target that speaks Responses.
"""
FORMATS = {
    "messages": "claude-sonnet-5-5",
    "chat": "gemini-3.8-flash",
    "responses": "sol-responses",
}
"""A target of each wire format."""
LIMIT_S = 240
Run = Callable[..., str]


def told(printed: str, label: str) -> list[str]:
    """What an example prints behind a label, each time that it does."""
    start = f"{label}: "
    return [line.removeprefix(start) for line in printed.splitlines() if line.startswith(start)]


def vendor_reads_all(printed: str, model: str) -> None:
    """A vendor's example got an answer, a stream, a call and who answered."""
    for label in ("answer", "stream", "final"):
        assert "simulated" in told(printed, label)[0]
    (tool,) = told(printed, "tool")
    assert "Paris" in tool
    (target,) = told(printed, "target")
    assert model in ("auto", target)


def lists_models(printed: str) -> None:
    """An example of Anthropic's clients read the list of models, and a count of tokens."""
    models = told(printed, "models")[0].split(", ")
    assert models[0] == "auto"
    assert set(FORMATS.values()) < set(models)
    assert int(told(printed, "input tokens")[0]) > 0


@pytest.fixture(scope="session")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the service; the examples that are not installed skip, and fail under CI."""
    if not (TOOLS / "uv").exists() or not (EXAMPLES / "node_modules").exists():
        message = "the clients of docs/examples are not installed: run `make examples`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    directory = tmp_path_factory.mktemp("examples")
    shutil.copytree(shipped_prompts(), directory / "prompts")
    (directory / "prompts" / "catalog" / "sol-responses.md").write_text(RESPONSES)
    with process(directory, "demo") as served:
        yield served.base


@pytest.fixture
def run(router: str, tmp_path: Path) -> Run:
    """Run a command in an empty folder, with the example's variables, and give what it printed."""

    def started(*command: str | Path, model: str = "auto", **more: str) -> str:
        variables = {
            "PATH": f"{TOOLS}:{EXAMPLES / 'node_modules' / '.bin'}:{os.environ['PATH']}",
            "ROUTER_URL": router,
            "ROUTER_MODEL": model,
            **more,
        }
        done = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return started
