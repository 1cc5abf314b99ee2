"""No way past a key's budget: the service in front of an upstream that keeps its own books, as
providers do, of everything it reads and writes, whether or not anybody hears it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from llmrouter.bootstrap import service
from llmrouter.settings import Settings
from tests.domain.test_parts import png

LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
LIMIT_USD = 1.0
PRICE_IN, PRICE_OUT = 10.0, 40.0
TARGET = """\
---
model: {name}
provider: openai
base_url: {url}/{name}/v1
price: {{input: 10, output: 40}}
context_window: 64000
max_output: 8000
latency: {{ttft_ms: 5, tokens_per_s: 2000}}
capabilities: [chat, embeddings, completions, vision]
timeout_s: 20
---
The one called {name}.
"""
ROUTER = """\
router: {{model: router, base_url: "{url}/router/v1", protocol: chat, timeout_ms: 5000,
  price: {{input: 20, output: 80}}}}
"""
PROMPT = "{% for target in targets %}{{ target.id }}: {{ target.description }}\n{% endfor %}"


@dataclass
class Meter:
    """An upstream that bills. A target's name says how it behaves: `silent` counts no usage,
    `empty` answers nothing, `slow` takes half a second. Without a limit an answer has `written`
    tokens, and the router LLM takes `router_s` seconds for its useless one.
    """

    written: int = 500
    billed_usd: float = 0.0
    calls: int = 0
    running: int = 0
    router_s: float = 0.0

    def _bill(self, given: float, written: float, rate: float = 1.0) -> None:
        self.billed_usd += rate * (given * PRICE_IN + written * PRICE_OUT) / 1e6

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        self.running += 1
        try:
            return await self._answer(request)
        finally:
            self.running -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name, tail = request.match_info["name"], request.match_info["tail"]
        raw = await request.read()
        asked = orjson.loads(raw)
        self.calls += 1
        given = len(raw) // 4
        if b"base64," in raw:  # an image of 2000 by 2000 pixels
            given = 1500
        prompts = asked.get("prompt")
        answers = len(prompts) if isinstance(prompts, list) else 1
        answers *= max(asked.get("n") or 1, asked.get("best_of") or 1)
        limits = [asked.get(name) for name in LIMITS]
        most = max((int(limit) for limit in limits if limit), default=self.written)
        written = 0 if tail == "embeddings" else min(most, 8000) * answers
        if name == "router":
            await asyncio.sleep(self.router_s)
            self._bill(given, 1, rate=2.0)
            return self._choice("no answer that anyone could use", given, 1)
        if name.startswith("empty"):
            self._bill(given, written)
            return self._choice("", given, written)
        if not asked.get("stream"):
            if name == "slow":
                try:
                    await asyncio.sleep(0.5)
                except asyncio.CancelledError:
                    self._bill(given, 0)
                    raise
            self._bill(given, written)
            usage = {"prompt_tokens": given, "completion_tokens": written}
            if tail == "embeddings":
                data = [{"object": "embedding", "index": 0, "embedding": [0.1]}]
                return web.json_response({"object": "list", "data": data, "usage": usage})
            text = "abc " * written
            choices = [
                {"index": i, "message": {"content": text}, "text": text, "finish_reason": "stop"}
                for i in range(answers)
            ]
            return web.json_response(
                {"id": "c", "choices": choices, **({} if name == "silent" else {"usage": usage})}
            )
        return await self._stream(request, name, given, written)

    def _choice(self, text: str, given: int, written: int) -> web.Response:
        usage = {"prompt_tokens": given, "completion_tokens": written}
        choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
        return web.json_response({"id": "c", "choices": [choice], "usage": usage})

    async def _stream(
        self, request: web.Request, name: str, given: int, written: int
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self._bill(given, 0)
        await response.prepare(request)
        sent = 0
        while sent < written:
            step = min(50, written - sent)
            chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "abc " * step}}]}
            self._bill(0, step)
            sent += step
            await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
            await asyncio.sleep(0.001)
        last: list[dict[str, Any]] = [
            {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        ]
        if name != "silent":
            usage = {"prompt_tokens": given, "completion_tokens": written}
            last.append({"choices": [], "usage": usage})
        for one in last:
            await response.write(b"data: " + orjson.dumps(one) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


@dataclass
class Bank:
    """The service, and keys `poor-1`, `poor-2`… that have LIMIT_USD an hour each."""

    meter: Meter
    client: aiohttp.ClientSession
    key: str = "poor-0"

    @property
    def headers(self) -> dict[str, str]:
        """Those of the key."""
        return {"Authorization": f"Bearer {self.key}-key-0123"}

    async def ask(self, path: str = "/complete", **body: Any) -> tuple[int, Any]:
        """Status and document (the bytes of a stream)."""
        async with self.client.post(path, json=body, headers=self.headers) as response:
            read = await response.read()
        stream = response.content_type == "text/event-stream"
        return response.status, read if stream else orjson.loads(read)

    async def many(self, times: int, path: str = "/complete", **body: Any) -> None:
        """The same at once, so often."""
        await asyncio.gather(*(self.ask(path, **body) for _ in range(times)))

    async def leave(self, path: str, body: dict[str, Any], *, lines: int = 0) -> None:
        """Read so many lines of an answer and close; without any, leave before it comes."""
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(None if lines else 0.05),
                self.client.post(path, json=body, headers=self.headers) as response,
            ):
                for _ in range(lines):
                    await response.content.readline()

    async def spent(self) -> float:
        """What the service says the key has spent."""
        async with self.client.get("/metrics") as response:
            lines = (await response.text()).splitlines()
        found = [x for x in lines if x.startswith("llmrouter_key_spend_usd") and self.key in x]
        return sum(float(line.rpartition(" ")[2]) for line in found)


@contextlib.asynccontextmanager
async def bank(
    directory: Path, *names: str, routing: str = "", router: bool = False, keys: int = 1
) -> AsyncIterator[Bank]:
    """The service over targets of these names."""
    meter = Meter()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/{name}/v1/{tail:.*}", meter.answer)
    prompts = directory / "prompts"
    (prompts / "catalog").mkdir(parents=True)
    async with TestServer(app, handler_cancellation=True) as upstream:
        url = str(upstream.make_url("")).rstrip("/")
        for name in names:
            text = TARGET.format(name=name, url=url)
            (prompts / "catalog" / f"{name}.md").write_text(text, encoding="utf-8")
        head = f"default: {names[0]}\n" + (ROUTER.format(url=url) if router else "")
        (prompts / "routing.yaml").write_text(head + routing, encoding="utf-8")
        (prompts / "router.md").write_text(PROMPT, encoding="utf-8")
        made = Settings(
            prompts=prompts,
            store="memory:",
            port=0,
            _env_file=None,
            public_details=True,
            api_keys=",".join(f"poor-{n}:poor-{n}-key-0123:pro" for n in range(keys)),
            key_limits=f"* spend_usd={LIMIT_USD}/h",
        )
        async with (
            service(made) as built,
            TestServer(built.app, handler_cancellation=True) as server,
            aiohttp.ClientSession(str(server.make_url("/"))) as client,
        ):
            yield Bank(meter, client)


SAY = [{"role": "user", "content": "What is 2+2? " * 20}]
LONG = [{"role": "user", "content": "word " * 5000}]
PIXELS = base64.b64encode(png(2000, 2000) + bytes(300_000)).decode()
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXELS}"}}
SEEN = [{"role": "user", "content": [{"type": "text", "text": "what?"}, IMAGE]}]
CHEAP = {"max_cost_usd": 1e-9}
ALL = "/v1/chat/completions"


async def by_decision_ids(up: Bank) -> None:
    """Short prompts decided, and long ones or long answers executed."""
    known = [(await up.ask("/route", messages=SAY))[1]["decision_id"] for _ in range(12)]
    for messages, tokens in ((SAY, 4000), (LONG * 4, 1)):
        asked = [
            up.ask(messages=messages, max_tokens=tokens, router={"decision_id": name, **CHEAP})
            for name in known
        ]
        await asyncio.gather(*asked)


async def by_leaving_early(up: Bank) -> None:
    """Before an answer comes, or in the middle of a stream; at once and one after another."""
    slow = {"messages": LONG, "model": "slow"}
    stream = {"messages": SAY, "model": "plain", "stream": True, "max_tokens": 4000}
    await asyncio.gather(*(up.leave("/complete", slow) for _ in range(20)))
    for _ in range(10):
        await up.leave(ALL, slow)
        await up.leave(ALL, stream, lines=1)
        await up.leave(ALL, stream, lines=60)


async def by_haste(up: Bank) -> None:
    """A deadline before the answer comes."""
    hasty = {"latency_budget_ms": 100}
    for _ in range(12):
        await up.ask(messages=LONG, model="slow", router=hasty)


async def by_long_answers(up: Bank) -> None:
    """Many answers, or contradictory limits, or several prompts in one."""
    await up.many(12, messages=SAY, n=8, max_tokens=200)
    await up.many(12, messages=SAY, n=8)
    await up.many(12, messages=SAY, max_tokens=4000, max_completion_tokens=1)
    prompts = {"model": "plain", "prompt": ["hi"] * 10}
    await up.many(12, "/v1/completions", **prompts, n=2, best_of=4, max_tokens=100)
    await up.many(12, "/v1/completions", **prompts)


async def by_streams(up: Bank) -> None:
    """Streams whose length no one said, and whose usage never comes."""
    up.meter.written = 6000
    for model in ("plain", "silent"):
        await up.many(30, ALL, messages=SAY, model=model, stream=True)
    up.meter.written = 500


async def by_other_doors(up: Bank) -> None:
    """Anthropic's, the Responses API, embeddings; counting tokens is free."""
    for model in ("auto", "plain"):
        await up.many(12, "/v1/messages", model=model, messages=SAY, max_tokens=2000)
        await up.many(12, "/v1/responses", model=model, input="hi", max_output_tokens=2000)
    await up.many(12, "/v1/messages/count_tokens", model="plain", messages=LONG)
    await up.many(12, "/v1/embeddings", model="plain", input=["word " * 400] * 20)
    await up.many(12, "/v1/embeddings", model="plain", input=[[1] * 8000] * 2)


async def by_pictures_and_scripts(up: Bank) -> None:
    """What has more tokens than its size tells."""
    await up.many(40, messages=SEEN, max_tokens=10)
    dense = [{"role": "user", "content": "漢字かな" * 1000}]
    await up.many(40, messages=dense, max_tokens=10)


async def by_useless_answers(up: Bank) -> None:
    """Empty answers are tried again elsewhere, and each one is billed."""
    await up.many(20, messages=LONG, max_tokens=10, router={"allow": ["empty", "empty2"]})
    await up.many(20, messages=LONG, max_tokens=10, model="empty")
    await up.many(20, messages=SAY, max_tokens=1000, router=CHEAP)


WAYS = [
    by_decision_ids,
    by_leaving_early,
    by_haste,
    by_long_answers,
    by_streams,
    by_other_doors,
    by_pictures_and_scripts,
    by_useless_answers,
]
SLACK = 0.25
"""USD: of each stream that ends early, a few events of 50 tokens are on their way."""


async def test_no_way_leads_past_a_keys_budget(tmp_path: Path) -> None:
    """Each way as often as it goes, with a key of its own: what the upstream bills stays within
    the budget, and nearly all of it is on the key's account."""
    async with bank(tmp_path, "plain", "silent", "empty", "empty2", "slow", keys=len(WAYS)) as up:
        for number, way in enumerate(WAYS):
            up.key, up.meter.billed_usd = f"poor-{number}", 0.0
            await way(up)
            for _ in range(200):  # whoever left is noticed a moment later
                if up.meter.running == 0 and await up.spent() >= up.meter.billed_usd * 0.9:
                    break
                await asyncio.sleep(0.01)
            spent = await up.spent()
            assert 0.1 < up.meter.billed_usd <= LIMIT_USD + SLACK, way.__name__
            assert spent >= up.meter.billed_usd * 0.8, way.__name__


async def test_an_answer_of_unknown_length_passes_a_budget_once(tmp_path: Path) -> None:
    """A whole answer is known when it is there; then as much is held for the next ones."""
    async with bank(tmp_path, "plain", keys=1) as up:
        up.meter.written = 2000
        assert (await up.ask(messages=SAY))[0] == 200
        calls = up.meter.calls
        await up.many(30, messages=SAY)
        each = 2000 * PRICE_OUT / 1e6
        assert up.meter.calls - calls <= LIMIT_USD / each
        assert up.meter.billed_usd <= LIMIT_USD + each  # what was left bought one more


CASCADE = """\
rules: [{name: all, when: {}, strategy: cascade}]
cascade: {order: [plain, plain2], accept: {checks: [{min_chars: 100000}]}}
"""


@pytest.mark.parametrize("routing", [CASCADE, "fallback: {hedge: true}\n"], ids=["climb", "hedge"])
async def test_attempts_beside_the_first_are_held_as_well(tmp_path: Path, routing: str) -> None:
    """All steps of a cascade that accepts nothing, and both attempts of a hedge."""
    async with bank(tmp_path, "plain", "plain2", "slow", routing=routing) as up:
        await up.many(30, messages=SAY, max_tokens=1000)
        assert 0.1 < up.meter.billed_usd <= LIMIT_USD


async def test_a_router_llm_that_is_no_use_is_on_the_keys_bill(tmp_path: Path) -> None:
    """Asked by /route and /complete, by callers who stay and by those who leave."""
    async with bank(tmp_path, "plain", "plain2", router=True, keys=2) as up:
        for number in range(80):
            said = [{"role": "user", "content": f"{number} " + "word " * 300}]
            path = "/route" if number % 2 else "/complete"
            if (await up.ask(path, messages=said, max_tokens=1))[0] == 429:
                break
        assert number < 79
        assert 0.5 < up.meter.billed_usd <= LIMIT_USD
        assert await up.spent() == pytest.approx(up.meter.billed_usd)
        up.key, up.meter.router_s = "poor-1", 5.0
        for number in range(40):
            said = [{"role": "user", "content": f"{number} leaves " + "word " * 300}]
            await up.leave("/route" if number % 2 else "/complete", {"messages": said})
            if await up.spent() > 0.5 * LIMIT_USD:
                break
        assert await up.spent() > 0.5 * LIMIT_USD
