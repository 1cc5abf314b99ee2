"""What a decision by the router LLM costs: tokens, money, time and CPU, and when it costs nothing.

    python -m benchmarks.router_call --data DIR [--prompts 200] [--embedded 20]

Real prompts of dev and the shipped catalog. Typed questions are answered by a server in this
process with the simulator's judge, so their tokens are counted and their answers are not measured;
tokens and times of the embedded model are those of a real llama.cpp server (`--embedded 0` leaves
them out). CPU is that of a service in a process of its own, beside a bare aiohttp handler that runs
in the same rounds: a busy machine changes both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import statistics
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml
from aiohttp import web
from rich.console import Console
from rich.table import Table

from benchmarks.embedded_judge import PROMPTS, EmbeddedJudge, embedded_judge
from benchmarks.load import post, run
from benchmarks.processes import Server, free_port, running
from benchmarks.real_input import prompts_in
from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.bootstrap import Service, service
from llmrouter.domain.chat import ANONYMOUS
from llmrouter.settings import Settings
from llmrouter.simulator.judging import decision, letter

BEFORE_USD = 0.00024
CHARS_A_TOKEN = 4


@dataclass
class Counted:
    """A judge that counts what it is asked. `static` are the characters that were the same."""

    base_url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    written: int = 0

    async def decisions(self, request: web.Request) -> web.Response:
        """Typed questions."""
        body = await self._taken(request)
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        return web.json_response(
            {"model": body["model"], "answers": decision(body), "usage": usage}
        )

    async def chat(self, request: web.Request) -> web.Response:
        """One token over letters."""
        body = await self._taken(request)
        said = letter(body)
        assert said is not None, "the service asked for something else than a letter"
        self.written += 1
        content = [{"token": said[0], "logprob": said[1][0]["logprob"], "top_logprobs": said[1]}]
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": said[0]},
            "finish_reason": "length",
            "logprobs": {"content": content},
        }
        usage = {"prompt_tokens": 0, "completion_tokens": 1, "total_tokens": 1}
        return web.json_response({"model": "judge", "choices": [choice], "usage": usage})

    async def _taken(self, request: web.Request) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        self.bodies.append(body)
        return body


@contextlib.asynccontextmanager
async def counting() -> AsyncIterator[Counted]:
    """A counting judge on a free port."""
    judge = Counted()
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/v1/decisions", judge.decisions)
    app.router.add_post("/v1/chat/completions", judge.chat)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    judge.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield judge
    await runner.cleanup()


def prompts_with(folder: Path, protocol: str, **over: Any) -> Path:
    """A copy of the shipped prompts/ whose router speaks `protocol`; `over` goes into `router`."""
    copy = folder / f"prompts-{protocol}"
    shutil.copytree(PROMPTS, copy)
    routing = yaml.safe_load((copy / "routing.yaml").read_text())
    routing["router"] |= {"protocol": protocol, "timeout_ms": 10_000, **over}
    routing["rules"], routing["learned"] = [], {"enabled": False}
    if "base_url" in over:
        del routing["router"]["api_key_env"]
    (copy / "routing.yaml").write_text(yaml.safe_dump(routing))
    return copy


async def asked(built: Service, prompts: Sequence[str], **options: Any) -> int:
    """Decides every prompt; how many were not decided by a judgement that was known."""
    new = 0
    for prompt in prompts:
        request = parse(orjson.dumps({"prompt": prompt, "router": options}), Endpoint.ROUTE)
        new += (await built.gateway.decide(request, ANONYMOUS)).source.value != "cache"
    return new


async def edited(built: Service, path: Path, change: Callable[[str], str]) -> None:
    """Saves a file of prompts/ and waits until it serves."""
    before = built.holder.current.version
    await asyncio.to_thread(lambda: path.write_text(change(path.read_text())))
    while built.holder.current.version == before:
        await built.holder.reload()


def tokens(value: Any) -> int:
    """About how many tokens a part of a body has."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return len(text) // CHARS_A_TOKEN


async def by_protocol(folder: Path, prompts: Sequence[str]) -> tuple[Table, Table]:
    """Tokens and money by protocol, and what a change of circumstances asks anew."""
    cost = Table(title="A decision by protocol", title_justify="left")
    for column in ("protocol", "written", "input tokens", "not cached", "USD", f"of ${BEFORE_USD}"):
        cost.add_column(column)
    again = Table(title="Judged requests that ask again after", title_justify="left")
    for column in ("protocol", "change", "decisions", "asked again", "questions"):
        again.add_column(column)
    for protocol in ("decisions", "chat"):
        async with counting() as judge:
            directory = prompts_with(folder, protocol, base_url=judge.base_url, max_spend_share=1.0)
            settings = Settings(prompts=directory, store=f"disk:{folder}/store-{protocol}")
            async with service(settings, environ=None) as built:
                await asked(built, prompts, strategy="llm", quality=0.9)
                cost.add_row(protocol, *cost_of(judge, len(prompts)))
                for row in await circumstances(built, judge, directory, prompts):
                    again.add_row(protocol, *row)
    return cost, again


def cost_of(judge: Counted, decisions: int) -> tuple[str, ...]:
    """Per decision: tokens written and read, those no prefix cache has, and their price."""
    bodies, seen, whole, new = judge.bodies, set[bytes](), 0, 0
    for body in bodies:
        if "questions" in body:
            first = [body["input"][0], body["questions"]]
            last = body["input"][1]["content"]
        else:
            first, last = [body["messages"][0]], body["messages"][1]["content"]
        prefix = orjson.dumps(first)
        whole += tokens(first) + tokens(last)
        new += tokens(last) + (0 if prefix in seen else tokens(first))
        seen.add(prefix)
    usd = new * 0.10e-6 / decisions
    share = f"{usd / BEFORE_USD:.0%} (all of it: {whole * 0.10e-6 / decisions / BEFORE_USD:.0%})"
    written = f"{judge.written / decisions:.2f}"
    return (
        written, f"{whole / decisions:.0f}", f"{new / decisions:.0f}", f"{usd:.6f}", share
    )  # fmt: skip


async def circumstances(
    built: Service, judge: Counted, directory: Path, prompts: Sequence[str]
) -> list[tuple[str, ...]]:
    """Changes that ask nothing anew, and one that asks about one target."""
    rows: list[tuple[str, ...]] = []
    first = directory / "catalog" / "gpt-6-luna.md"

    async def row(name: str, **options: Any) -> None:
        judge.bodies.clear()
        again = await asked(built, prompts, **options)
        await asyncio.sleep(0.5)  # questions behind the requests
        questions = sum(len(body.get("questions", [0])) for body in judge.bodies)
        rows.append((name, str(len(prompts)), f"{again / len(prompts):.1%}", str(questions)))

    await row("nothing")
    await row("another quality", quality=0.2)
    await row("a denied target", deny=["gpt-6-luna"])
    await row("a limit of cost", max_cost_usd=0.01)
    await edited(built, first, lambda text: text.replace("input: 0.1", "input: 0.2"))
    await row("a price edited")
    await edited(built, first, lambda text: text.replace("---\n", "---\ntiers: [pro]\n", 1))
    await row("a tier edited")
    built.gateway.screener._health.cooldown("gemini-3.8-flash", 600.0)
    await row("a target resting")
    other = directory / "catalog" / "deepseek-flash.md"
    await edited(built, other, lambda text: f"{text.rstrip()} Good at law.\n")
    await row("a description edited")
    return rows


def cpu(folder: Path, prompts: Sequence[str], rounds: int = 3) -> Table:
    """CPU of a decision by a router LLM, beside a bare handler in the same rounds."""
    sim, bare = free_port(), free_port()
    table = Table(title="CPU of the service a decision", title_justify="left")
    for column in ("protocol", "ms", "bare handler, ms", "ratio", "at 0.03 ms a bare one"):
        table.add_column(column)
    size = len(prompts) // (rounds + 1)
    with contextlib.ExitStack() as stack:
        start = stack.enter_context
        start(running(["-m", "llmrouter", "sim", "--port", str(sim), "--latency-scale", "0"], sim))
        a = start(running(["-m", "benchmarks.bare", "constant", str(bare)], bare))
        for protocol in ("decisions", "chat"):
            port = free_port()
            directory = prompts_with(folder / "cpu", protocol, max_spend_share=1.0)
            environ = {
                "LLMROUTER_STORE": f"disk:{folder}/cpu-{protocol}",
                "LLMROUTER_DEMO_UPSTREAM": f"http://127.0.0.1:{sim}/v1",
                "LLMROUTER_LOG_LEVEL": "ERROR",
            }
            command = ["-m", "llmrouter", "serve", "--port", str(port), "--prompts", str(directory)]
            mine: list[float] = []
            bares: list[float] = []
            with running(command, port, "/readyz", environ) as server:
                for number in range(rounds + 1):
                    part = prompts[number * size : (number + 1) * size]
                    bodies = [
                        orjson.dumps({"prompt": one, "router": {"strategy": "llm"}}) for one in part
                    ]
                    mine.append(_ms(server, [post(port, "/route", one) for one in bodies]))
                    bares.append(_ms(a, [post(bare, "/route", one) for one in bodies]))
            ratio = statistics.median(x / y for x, y in zip(mine[1:], bares[1:], strict=True))
            table.add_row(
                protocol,
                f"{min(mine[1:]):.2f}",
                f"{min(bares[1:]):.3f}",
                f"{ratio:.0f}",
                f"{ratio * 0.03:.2f} ms (at most 2)",
            )
    return table


def _ms(server: Server, requests: list[bytes]) -> float:
    before = server.running_s()
    load = run(server.port, requests, connections=2)
    if set(load.statuses) != {200}:
        raise RuntimeError(f"unexpected answers: {load.statuses}")
    return (server.running_s() - before) * 1000 / len(requests)


async def own_tokens(judge: EmbeddedJudge, prompt: str) -> int:
    """The tokens of the prompt itself, by the server's own tokenizer."""
    llm = judge.catalog.router
    assert llm is not None
    url = f"{llm.base_url.removesuffix('/v1')}/tokenize"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={"content": prompt}) as answer,
    ):
        return len((await answer.json())["tokens"])


async def embedded(prompts: Sequence[str], before: int) -> Table:
    """Tokens read anew and time by the embedded model, beside the old way, warm, in one run."""
    new: list[Mapping[str, float]] = []
    old: list[Mapping[str, float]] = []
    async with embedded_judge() as judge:
        tasks: set[str] = set()
        for number, prompt in enumerate(prompts):
            body = {"prompt": prompt}
            task = judge.context(body).features.traits.task
            if task not in tasks:  # profiles of the targets are asked for once a task
                await judge.now({"prompt": f"{prompt} "})
                tasks.add(task)
                continue
            one = await judge.now(body)
            own = await own_tokens(judge, prompt)
            new.append({"over": one.read - own, "s": one.seconds, "written": one.written})
            if len(old) < before:
                two = await judge.before(body, judge.shuffled(number))
                old.append({"over": two.read - own, "s": two.seconds, "written": two.written})
    table = Table(title=f"The embedded model, warm ({len(new)} now, {len(old)} before)")
    for column in ("median of", "now", "before", "wanted"):
        table.add_column(column)

    def median(rows: list[Mapping[str, float]], name: str) -> float:
        return statistics.median(row[name] for row in rows) if rows else float("nan")

    for name, key, wanted in (
        ("input tokens read anew, beyond the request's own", "over", "at most 100"),
        ("tokens written", "written", "1"),
        ("seconds", "s", "a quarter of before"),
    ):
        table.add_row(name, f"{median(new, key):.2f}", f"{median(old, key):.2f}", wanted)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of outcome files")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--embedded", type=int, default=20, help="prompts for the real model")
    parser.add_argument("--before", type=int, default=5, help="of them asked the old way as well")
    options = parser.parse_args(arguments)
    prompts = prompts_in(options.data, options.prompts)
    wide = Console(width=130)
    with tempfile.TemporaryDirectory() as name:
        for table in asyncio.run(by_protocol(Path(name), prompts)):
            wide.print(table)
        wide.print(cpu(Path(name), prompts_in(options.data, options.prompts * 2)))
    if options.embedded:
        short = [one for one in prompts if len(one) < 800][: options.embedded]
        wide.print(asyncio.run(embedded(short, options.before)))


if __name__ == "__main__":
    main()
