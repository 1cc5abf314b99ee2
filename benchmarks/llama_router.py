"""The same `/route` calls with a llama.cpp server as the router LLM.

    python -m benchmarks.llama_router --data DIR [--prompts 300]

Builds a tiny model with random weights, starts `llama_cpp.server` on it and a service whose router
points there. What the model says is noise; what counts is that every answer is a 2xx and every
target eligible. Needs the `llama` extra.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.processes import free_port, running
from benchmarks.real_input import prompts_in
from tests.llama import MODEL_NAME, llama_server

ROOT = Path(__file__).parents[1]


def prompts_for(base_url: str, folder: Path) -> Path:
    """A copy of `prompts/` whose router is the llama.cpp server."""
    copy = folder / "prompts"
    shutil.copytree(ROOT / "prompts", copy)
    routing = yaml.safe_load((copy / "routing.yaml").read_text())
    routing["router"] = {"model": MODEL_NAME, "base_url": base_url, "timeout_ms": 15000}
    (copy / "routing.yaml").write_text(yaml.safe_dump(routing))
    return copy


async def ask(base: str, prompts: Sequence[str]) -> tuple[Counter[str], Counter[int], int]:
    """Route every prompt once: sources, statuses, and how many targets were not eligible."""
    sources: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    strays = 0
    async with aiohttp.ClientSession(base) as session:
        async with session.get("/v1/models") as answer:
            known = {model["id"] for model in (await answer.json())["data"]}
        for prompt in prompts:
            async with session.post("/route", json={"prompt": prompt}) as answer:
                statuses[answer.status] += 1
                decision = await answer.json()
                if answer.status == 200:
                    sources[decision["source"]] += 1
                    out = {excluded["target"] for excluded in decision["excluded"]}
                    strays += decision["target"] not in known - out
    return sources, statuses, strays


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and print; exit 1 on any 5xx or ineligible target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of outcome files")
    parser.add_argument("--prompts", type=int, default=300)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, llama_server() as llama:
        port = free_port()
        command = ["-m", "llmrouter", "serve", "--port", str(port)]
        command += ["--prompts", str(prompts_for(llama.base_url, Path(folder)))]
        environ = {"LLMROUTER_STORE": f"disk:{folder}/store", "LLMROUTER_LOG_LEVEL": "ERROR"}
        with running(command, port, "/readyz", environ):
            prompts = prompts_in(options.data, options.prompts)
            found = asyncio.run(ask(f"http://127.0.0.1:{port}", prompts))
    sources, statuses, strays = found
    table = Table(title="llama.cpp as the router LLM", title_justify="left")
    for column in ("prompts", "statuses", "by source", "targets not eligible"):
        table.add_column(column)
    table.add_row(str(len(prompts)), str(dict(statuses)), str(dict(sources)), str(strays))
    Console().print(table)
    sys.exit(1 if strays or any(status >= 500 for status in statuses) else 0)


if __name__ == "__main__":
    main()
