"""How long can one body hold the event loop? The largest allowed body of each hostile shape.

    python -m benchmarks.event_loop [--only PART…] [--repeat 3]

The service runs in a process of its own beside a probe that wakes every millisecond; the clients
and the simulated upstream are other processes. How late the probe wakes counts as far as the
service's process used a processor meanwhile, in whichever thread, so a busy machine adds nothing;
of several times the least is told. The promise is 50 ms, for what is refused as well.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop
from aiohttp import web

from benchmarks.learning_stalls import Probe
from benchmarks.processes import free_port, running
from llmrouter.api.http_errors import Runner
from llmrouter.bootstrap import service
from llmrouter.server.worker import SWITCH_S, bound_malloc, settle_garbage_collector
from llmrouter.settings import Settings

PROMISE_MS = 50.0
MB = 1024 * 1024
FULL = 10 * MB - 65536
"""The largest body that the default settings take, less what stands around the text."""


def texts() -> Iterator[tuple[str, str]]:
    """Texts of the largest size, by what is hostile about them."""
    yield "stacked marks", "a" + "\u0301" * (FULL // 2)
    yield "stacked marks, mixed", "".join(chr(0x300 + n % 0x40) for n in range(FULL // 2))
    yield "digits", "7" * FULL
    yield "digits, 1 MB", "7" * MB
    yield "one character", "x" * FULL
    yield "dashes", "-" * FULL
    yield "line feeds", "\n" * (FULL // 2)
    yield "spaces", " " * FULL
    yield "long words", ("w" * 5000 + " ") * (FULL // 5001)
    yield "short words", " ".join(f"{n:x}" for n in range(FULL // 7))
    yield "one word again", "the " * (FULL // 4)
    yield "numbers", " ".join(f"{n}.{n}" for n in range(FULL // 15))
    yield "Chinese", "\u4f60\u597d" * (FULL // 6)
    yield "emoji", "\U0001f600" * (FULL // 4)
    yield "compatibility", "\ufb03" * (FULL // 3)  # a ligature that becomes three letters
    yield "expanding", "\ufdfa" * (FULL // 3)  # one that becomes eighteen
    yield "Hangul parts", "\u1100\u1161\u11a8" * (FULL // 9)
    yield "code fences", "```\n" * (FULL // 5)
    yield "quotes", "'\u201c" * (FULL // 4)
    yield "tags", "<system-reminder>" * (FULL // 17)
    yield "links", "https://a.b/c?d=e " * (FULL // 18)
    yield "prose", PROSE * (FULL // len(PROSE))


PROSE = "Please write a short summary of the following report, and say what it leaves out. "


def user(text: Any) -> dict[str, Any]:
    """A message."""
    return {"role": "user", "content": text}


def tool(number: int) -> dict[str, Any]:
    """A tool."""
    return {"type": "function", "function": {"name": f"t{number}", "parameters": {}}}


def deep(levels: int) -> Any:
    """Lists within one another."""
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Bodies whose structure is hostile: as large as the bounds allow, then beyond them."""
    hi = [user("hi")]
    for count in (10_000, 100_000):
        yield f"{count} messages", {"messages": [user("hi")] * count}
        parts = [{"type": "text", "text": "hi"}] * count
        yield f"{count} parts", {"messages": [user(parts)]}
    long = "word " * 180
    yield "10000 long messages", {"messages": [user(long)] * 10_000}
    yield "10000 images", {"messages": [user([image(n) for n in range(10_000)])]}
    for count in (2000, 100_000):
        yield f"{count} tools", {"messages": hi, "tools": [tool(n) for n in range(count)]}
    schema = {f"p{n}": {"type": "string"} for n in range(20_000)}
    described = tool(0)
    described["function"]["parameters"] = {"type": "object", "properties": schema}
    yield "a tool of 20000 fields", {"messages": hi, "tools": [described]}
    yield (
        "a schema of 20000 fields",
        {
            "messages": hi,
            "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        },
    )
    for count in (45_000, 600_000):
        yield f"{count} keys", {"messages": hi, "metadata": {f"k{n}": n for n in range(count)}}
    yield "95000 numbers", {"messages": hi, "x": list(range(95_000))}
    yield "95 levels", {"messages": hi, "x": deep(95)}
    yield "5000 levels", {"messages": hi, "x": deep(200)}
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    turn = {"role": "assistant", "content": None, "tool_calls": calls * 4}
    yield "8000 tool calls", {"messages": [*hi, *[turn] * 2000]}
    yield "escaped", {"messages": [user("\x01" * (FULL // 6))]}


SHORT = 126_000
"""Bytes that are still handled in the event loop itself."""


def short_documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """The same just under the size from which a body is handled in a thread."""
    hi = [user("hi")]
    yield "short: messages", {"messages": [user("hi")] * (SHORT // 32)}
    yield "short: parts", {"messages": [user([{"type": "text", "text": "hi"}] * (SHORT // 29))]}
    tools = [tool(n) for n in range(SHORT // 80)]
    yield "short: tools", {"messages": hi, "tools": tools}
    yield "short: keys", {"messages": hi, "metadata": {f"k{n}": n for n in range(SHORT // 15)}}
    yield "short: lists", {"messages": hi, "x": [[] for _ in range(SHORT // 3)]}
    yield "short: numbers", {"messages": hi, "x": [1] * (SHORT // 2)}
    for name, text in texts():
        cut = text.encode()[:SHORT].decode(errors="ignore")
        yield f"short: {name}", {"messages": [user(cut)]}
    yield "short: escaped", {"messages": [user("\x01" * (SHORT // 6))]}


def image(number: int) -> dict[str, Any]:
    """A part with a picture."""
    return {"type": "image_url", "image_url": {"url": f"https://pictures.example/{number}.png"}}


Shape = Callable[[dict[str, Any]], dict[str, Any] | None]


def chat(body: dict[str, Any]) -> dict[str, Any]:
    """As chat completions."""
    return {"model": "auto", "max_tokens": 5, **body}


def messages(body: dict[str, Any]) -> dict[str, Any]:
    """As Anthropic's Messages."""
    asked = {**chat(body)}
    asked.pop("response_format", None)
    if "tools" in asked:
        asked["tools"] = [
            {"name": t["function"]["name"], "input_schema": t["function"]["parameters"]}
            for t in asked["tools"]
        ]
    return asked


def responses(body: dict[str, Any]) -> dict[str, Any]:
    """As OpenAI's Responses."""
    asked = {**chat(body)}
    asked["max_output_tokens"] = asked.pop("max_tokens")
    asked["input"] = [{"type": "message", **turn} for turn in asked.pop("messages")]
    for turn in asked["input"]:
        if isinstance(turn["content"], list):
            turn["content"] = [
                {"type": "input_text", "text": p["text"]} if p["type"] == "text" else p
                for p in turn["content"]
            ]
    asked["tools"] = [{"type": "function", **t["function"]} for t in asked.get("tools", ())]
    asked.pop("response_format", None)
    return asked


def feedback(body: dict[str, Any]) -> dict[str, Any]:
    """As feedback of an unknown decision."""
    turns = body["messages"]
    text = turns[0]["content"] if len(turns) == 1 else turns
    return {"decision_id": "dec_000000000000_1", "score": 1, "comment": text, **body}


def edit(body: dict[str, Any]) -> dict[str, Any]:
    """As a file of the catalog."""
    return {"files": {"catalog/new.md": str(body["messages"][0]["content"]), **body}}


CALLS: dict[str, Shape] = {
    "/route": chat,
    "/complete": chat,
    "/v1/chat/completions": chat,
    "/v1/messages": messages,
    "/v1/responses": responses,
    "/feedback": feedback,
    "/catalog/check": edit,
}


@dataclass(frozen=True, slots=True)
class Stall:
    """The longest of one call: ours, by the clock, and the status that it ended with."""

    ours_ms: float
    clock_ms: float
    status: int


class Caller:
    """Sends bodies to a running service, and asks its probe afterwards."""

    def __init__(self, client: aiohttp.ClientSession, port: int) -> None:
        self._client = client
        self._port = port

    async def worst(self, path: str, body: bytes, repeat: int) -> Stall:
        """The least of `repeat` times, each with another text so that no cache answers."""
        found = []
        for _ in range(repeat):
            await self._probed()
            async with self._client.post(path, data=body, headers=JSON) as answer:
                await answer.read()
                status = answer.status
            await asyncio.sleep(0.05)  # what is done behind the answer counts as well
            ours, clock = await self._probed()
            found.append(Stall(ours, clock, status))
            if ours <= PROMISE_MS / 2:
                break
        return min(found, key=lambda one: one.ours_ms)

    async def _probed(self) -> tuple[float, float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        said = await reader.read()
        writer.close()
        ours, clock = said.split()
        return float(ours), float(clock)


JSON = {"Content-Type": "application/json", "Authorization": "Bearer sk-admin"}


async def measure(port: int, probe: int, only: list[str], repeat: int) -> bool:
    """Every shape at every call; whether all of them kept the promise."""
    shapes = [(name, {"messages": [user(text)]}) for name, text in texts()]
    shapes += [*documents(), *short_documents()]
    print(f"{'ms the loop was held (status)':<28}" + "".join(f"{path:>23}" for path in CALLS))
    kept = True
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as client:
        caller = Caller(client, probe)
        await caller.worst("/route", orjson.dumps(chat({"messages": [user("warm up")]})), 3)
        for name, body in shapes:
            if only and not any(name.startswith(part) for part in only):
                continue
            row = [f"{name:<28}"]
            for path, shape in CALLS.items():
                stall = await caller.worst(path, orjson.dumps(shape(body)), repeat)
                kept &= stall.ours_ms <= PROMISE_MS
                mark = "!" if stall.ours_ms > PROMISE_MS else ""
                row.append(f"{mark + format(stall.ours_ms, '.1f'):>16} ({stall.status})")
            print("".join(row), flush=True)
    return kept


TARGET = """\
---
model: {name}
provider: openai
base_url: http://127.0.0.1:1/v1
price: {{input: {usd}, output: {usd}}}
context_window: 20000000
capabilities: [tools, json_schema, vision, reasoning]
---
The {name} one, which reads everything that is sent to it.
"""
ROUTING = """\
default: small
router: {model: tiny, base_url: http://127.0.0.1:1/v1, price: {input: 0.05, output: 0.4}}
cascade: {order: [small, large], accept: {min_confidence: 0.5}}
"""
ROUTER = "{% for target in targets %}{{ target.id }}: {{ target.description }}\n{% endfor %}"


def prompts(folder: Path) -> Path:
    """A catalog whose windows hold the largest body, so that every stage reads all of it."""
    made = folder / "prompts"
    (made / "catalog").mkdir(parents=True)
    for name, usd in (("small", 0.25), ("large", 2.5)):
        (made / "catalog" / f"{name}.md").write_text(TARGET.format(name=name, usd=usd))
    (made / "routing.yaml").write_text(ROUTING)
    (made / "router.md").write_text(ROUTER)
    return made


async def serve(port: int, probe_port: int, folder: Path, upstream: int) -> None:
    """The service, and its probe's word of the longest stall since it was last asked."""
    probe = Probe()

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ours, late = probe.ours, probe.late
        probe.ours, probe.late = [], []
        writer.write(f"{max(ours, default=0):.3f} {max(late, default=0):.3f}".encode())
        writer.close()

    os.environ["LLMROUTER_DEMO_UPSTREAM"] = f"http://127.0.0.1:{upstream}/v1"
    settings = Settings(
        store=f"disk:{folder / 'store'}",
        prompts=prompts(folder),
        admin_key="sk-admin",
        api_keys="a:sk-a",
    )
    async with service(settings, None) as built:
        runner = Runner(built.app, access_log=None, handler_cancellation=True)
        await runner.setup()
        await asyncio.start_server(tell, "127.0.0.1", probe_port)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        settle_garbage_collector()
        await probe.watch()


def main(arguments: list[str] | None = None) -> None:
    """Run it; 1 where the promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--serve", nargs=4, metavar=("PORT", "PROBE", "FOLDER", "UPSTREAM"))
    given = parser.parse_args(arguments)
    if given.serve:
        port, probe, folder, upstream = given.serve
        bound_malloc()
        sys.setswitchinterval(SWITCH_S)
        uvloop.run(serve(int(port), int(probe), Path(folder), int(upstream)))
        return
    port, probe, upstream = free_port(), free_port(), free_port()
    sim = ["-m", "llmrouter", "sim", "--port", str(upstream), "--latency-scale", "0"]
    with tempfile.TemporaryDirectory() as folder, running(sim, upstream, "/v1/models"):
        command = ["-m", "benchmarks.event_loop", "--serve", str(port), str(probe), folder]
        with running([*command, str(upstream)], port, "/healthz"):
            kept = asyncio.run(measure(port, probe, given.only, given.repeat))
    if not kept:
        sys.exit(1)


if __name__ == "__main__":
    main()
