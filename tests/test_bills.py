"""Whose fault an error is, odd replies, what is billed and what is held: the whole service in front
of an upstream on a real socket, streaming and not, through `/complete` and the OpenAI drop-in."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import TestServer

from llmrouter.bootstrap import Service, service
from llmrouter.settings import Settings
from tests import faulty
from tests.domain.test_parts import png
from tests.domain.test_provider_errors import (
    KEY,
    KEY_INVALID,
    LOW,
    PLAN,
    TOKENS,
    TPM,
    anthropic,
    error,
    google,
)
from tests.faulty import COUNTS, DONE, END, ROLE, WORDS, FaultyUpstream, chunk, completion, events
from tests.faulty import whole as whole_answer

FORMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
PATHS = pytest.mark.parametrize("path", ["/complete", "/v1/chat/completions"])
TARGET = """\
---
model: {name}-model
provider: openai
base_url: {url}
price: {price}
context_window: {window}
capabilities: [{capabilities}]
timeout_s: 20
---
The one called {name}.
"""
ROUTING = (
    "default: small\nfallback: {retries: 0}\nrules:\n  - {name: all, when: {}, route: small}\n"
)
ROUTER = "{% for target in targets %}{{ target.id }}: {{ target.description }}\n{% endfor %}"
PRICE = "{input: 100, cached_input: 10, cache_write: 125, output: 1000}"


@dataclass
class Shop:
    """The service over `small` (8,000 tokens) and `big` (64,000), and what both are answered by."""

    service: Service
    upstream: FaultyUpstream
    client: aiohttp.ClientSession

    async def ask(
        self, path: str = "/complete", model: str = "auto", stream: bool = False, **over: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        messages = [{"role": "user", "content": "What is 2+2?"}]
        body = {"model": model, "messages": messages, "stream": stream, **over}
        async with self.client.post(path, json=body) as response:
            return response.status, dict(response.headers), await response.read()

    async def billed(self, stream: bool, **over: Any) -> tuple[dict[str, Any], bytes]:
        """The `router` object of an answer, and the answer."""
        status, _, body = await self.ask(stream=stream, **over)
        if not stream or status != 200:
            return json.loads(body)["router"], body  # as lenient as Python is
        told = [part for part in body.split(b"\n\n") if b'"router":' in part]
        return orjson.loads(told[-1].removeprefix(b"data: "))["router"], body

    async def metric(self, name: str) -> float:
        """The sum of a metric."""
        async with self.client.get("/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@contextlib.asynccontextmanager
async def shop(directory: Path, routing: str = ROUTING, **settings: Any) -> AsyncIterator[Shop]:
    """It, with keys where `settings` name some; both targets read what `capabilities` say."""
    capabilities = settings.pop("capabilities", "")
    prompts = directory / "prompts"
    (prompts / "catalog").mkdir(parents=True)
    (prompts / "routing.yaml").write_text(routing, encoding="utf-8")
    (prompts / "router.md").write_text(ROUTER, encoding="utf-8")
    headers = settings.pop("headers", None)
    async with FaultyUpstream() as upstream:
        for name, mode, window in (("small", "ok2", 8000), ("big", "ok", 64000)):
            text = TARGET.format(
                name=name,
                url=upstream.url(mode),
                window=window,
                price=PRICE if name == "small" else "{input: 200, output: 2000}",
                capabilities=capabilities or ("" if name == "small" else "vision"),
            )
            (prompts / "catalog" / f"{name}.md").write_text(text, encoding="utf-8")
        made = Settings(
            prompts=prompts, store=f"disk:{directory / 'store'}", port=0, _env_file=None, **settings
        )
        async with (
            service(made) as built,
            TestServer(built.app) as server,
            aiohttp.ClientSession(str(server.make_url("/")), headers=headers) as client,
        ):
            yield Shop(built, upstream, client)


def says(monkeypatch: pytest.MonkeyPatch, status: str, said: object) -> str:
    """A mode that refuses with this body."""
    body = json.dumps(said).encode()

    async def answer(seen: faulty.Seen, writer: asyncio.StreamWriter) -> None:
        await whole_answer(writer, body, status=status)

    monkeypatch.setitem(faulty.MODES, "said", answer)
    return "said"


def replies(monkeypatch: pytest.MonkeyPatch, body: bytes, *pieces: bytes) -> str:
    """A mode that answers with this body, or streams these events."""

    async def answer(seen: faulty.Seen, writer: asyncio.StreamWriter) -> None:
        if seen.stream and pieces:
            await events(writer, pieces)
        else:
            await whole_answer(writer, body)

    monkeypatch.setitem(faulty.MODES, "replied", answer)
    return "replied"


def sse(document: object) -> bytes:
    """One event."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


OVERFLOWS = [
    ("400 Bad Request", [google(400, TOKENS, "INVALID_ARGUMENT")]),
    ("400 Bad Request", anthropic("invalid_request_error", "prompt is too long: 2 > 1")),
    ("400 Bad Request", {"message": "Input is too long for requested model."}),
    ("400 Bad Request", error("x", type="exceed_context_size_error")),
    ("500 Internal Server Error", error("Context size has been exceeded.", type="server_error")),
]


@FORMS
@PATHS
@pytest.mark.parametrize(
    ("status", "said"), OVERFLOWS, ids=["gemini", "claude", "aws", "cpp", "500"]
)
async def test_what_is_too_long_for_one_target_is_answered_by_a_larger_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, stream: bool, status: str, said: Any
) -> None:
    """In every provider's words; alone, the caller hears OpenAI's code for it."""
    async with shop(tmp_path) as up:
        up.upstream.script["ok2"] = [says(monkeypatch, status, said)] * 2
        code, headers, body = await up.ask(path, stream=stream)
        assert (code, headers["x-llmrouter-served-by"]) == (200, "big")
        code, _, body = await up.ask(path, model="small", stream=stream)
        assert code == 400
        if "error" not in said:
            assert orjson.loads(body)["error"]["code"] == "context_length_exceeded"


OURS = [
    ("400 Bad Request", anthropic("invalid_request_error", LOW)),
    ("403 Forbidden", {"code": "x", "error": "Your newly created team doesn't have any credits."}),
    ("429 Too Many Requests", error(PLAN, type="insufficient_quota", code="insufficient_quota")),
    ("402 Payment Required", error("Insufficient Balance")),
    ("400 Bad Request", [google(400, KEY, "INVALID_ARGUMENT", details=KEY_INVALID)]),
    ("400 Bad Request", {"code": "x", "error": "Incorrect API key provided: sk-se***et."}),
    ("413 Payload Too Large", error(TPM, type="tokens", code="rate_limit_exceeded")),
]


@FORMS
@pytest.mark.parametrize(("status", "said"), OURS)
async def test_an_account_a_key_or_a_limit_of_the_service_is_no_fault_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool, status: str, said: Any
) -> None:
    """Another target answers; alone it is 429 or 502, and nothing of the account is quoted."""
    async with shop(tmp_path) as up:
        up.upstream.script["ok2"] = [says(monkeypatch, status, said)] * 9
        code, headers, _ = await up.ask(stream=stream)
        assert (code, headers["x-llmrouter-served-by"]) == (200, "big")
        code, _, body = await up.ask(model="small", stream=stream)
        assert code in (429, 502, 503)
        assert b"sk-se" not in body
        assert b"org_" not in body or code == 429


async def test_a_target_without_credit_rests_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked once, not by every request."""
    async with shop(tmp_path) as up:
        up.upstream.script["ok2"] = [says(monkeypatch, *OURS[0])] * 9
        for _ in range(4):
            assert (await up.ask())[0] == 200
        assert up.upstream.hits("ok2") == 1
        assert await up.metric("llmrouter_upstream_misconfigured_total") == 1


@FORMS
@PATHS
async def test_what_one_target_does_not_take_another_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, stream: bool
) -> None:
    """Alone, the upstream's own words go back."""
    said = error("No endpoints found that support tool use.", code=404)
    async with shop(tmp_path) as up:
        up.upstream.script["ok2"] = [says(monkeypatch, "404 Not Found", said)] * 9
        code, headers, _ = await up.ask(path, stream=stream)
        assert (code, headers["x-llmrouter-served-by"]) == (200, "big")
        code, _, body = await up.ask(path, model="small", stream=stream)
        assert code == 404
        assert b"No endpoints found" in body
        for _ in range(8):
            await up.ask(path, model="small")
        assert (await up.ask(path, model="small"))[0] == 200  # no circuit opened by it


CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Fo"}, "finish_reason": "error"}


@FORMS
@PATHS
@pytest.mark.parametrize("inner", [None, {"code": 502, "message": "Provider disconnected"}])
async def test_a_choice_that_ended_in_an_error_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, stream: bool, inner: Any
) -> None:
    """Before the first token another target answers; after it the stream ends in an error event."""
    broken = {**CHOICE, **({"error": inner} if inner else {})}
    body = completion(choices=[broken])
    last = {k: v for k, v in broken.items() if k != "message"} | {"delta": {}}
    failed = sse({"id": "c", "choices": [last]})
    async with shop(tmp_path) as up:
        up.upstream.script["ok2"] = [replies(monkeypatch, body, ROLE, failed)]
        code, headers, _ = await up.ask(path, stream=stream)
        assert (code, headers["x-llmrouter-served-by"]) == (200, "big")
        if stream:
            up.upstream.script["ok2"] = [replies(monkeypatch, body, ROLE, WORDS[0], failed)]
            code, _, said = await up.ask(path, stream=True)
            assert code == 200
            told = [part for part in said.split(b"\n\n") if part][-1]
            assert orjson.loads(told.removeprefix(b"data: "))["error"]["message"]
            assert b"[DONE]" not in said


LOOSE = (
    completion("half \\ud83d of a pair").replace(b"\\\\ud83d", b"\\ud83d"),
    completion(choices=[{"index": 0, "message": {"role": "assistant", "content": "Four."},
                         "finish_reason": "stop",
                         "logprobs": {"content": [{"token": "F", "logprob": float("-inf")}]}}]),
    completion(choices=[{"index": 0, "message": {"role": "assistant", "content": "Four."},
                         "finish_reason": "stop", "score": float("nan")}]),
)  # fmt: skip


@FORMS
@pytest.mark.parametrize("loose", LOOSE, ids=["surrogate", "infinity", "nan"])
async def test_what_lenient_parsers_take_is_relayed_as_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool, loose: bytes
) -> None:
    """Byte for byte, billed as counted, and no sign of the target's health."""
    chunks = (
        sse({"choices": [{"delta": {"content": "x"}}]}).replace(b'"x"', b'"\\ud83d"'),
        sse({"choices": [{"delta": {"content": "y"}, "logprobs": float("-inf")}]}),
        END, COUNTS, DONE,
    )  # fmt: skip
    async with shop(tmp_path) as up:
        up.upstream.script["ok2"] = [replies(monkeypatch, loose, *chunks)] * 9
        for _ in range(7):
            code, headers, body = await up.ask("/v1/chat/completions", stream=stream)
            assert (code, headers["x-llmrouter-target"]) == (200, "small")
            assert "x-llmrouter-served-by" not in headers
            assert body == (b"".join((*chunks[:3], DONE)) if stream else loose)
        router, _ = await up.billed(stream)
        assert router["cost_usd"] == pytest.approx((12 * 100 + 5 * 1000) / 1e6)


def usd(given: int, written: int, cached: int = 0, stored: int = 0) -> float:
    """At `small`'s prices."""
    fresh = given - cached - stored
    return (fresh * 100 + cached * 10 + stored * 125 + written * 1000) / 1e6


USAGES: list[tuple[dict[str, Any], float]] = [
    ({"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}, usd(20, 603)),
    ({"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 100,
      "cache_creation_input_tokens": 50}, usd(160, 5, 100, 50)),
    ({"prompt_tokens": 100, "completion_tokens": 5, "cached_tokens": 80}, usd(100, 5, 80)),
    ({"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 80},
     usd(100, 5, 80)),
    ({"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details":
      {"cached_tokens": 60, "cache_write_tokens": 40}}, usd(100, 5, 60, 40)),
    ({"prompt_tokens": 10**11, "completion_tokens": 10**11}, usd(8000, 8000)),
]  # fmt: skip


@FORMS
@pytest.mark.parametrize(("usage", "cost"), USAGES)
async def test_every_spelling_of_usage_is_billed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool, usage: Any, cost: float
) -> None:
    """Thought in the total, caches read and written; no more than a request can use."""
    last = sse({"id": "c", "choices": [], "usage": usage})
    mode = replies(monkeypatch, completion(usage=usage), ROLE, *WORDS, END, last, DONE)
    async with shop(tmp_path) as up:
        up.upstream.script["ok2"] = [mode]
        router, _ = await up.billed(stream)
        assert router["cost_usd"] == pytest.approx(cost)
        absurd = usage.get("prompt_tokens") == 10**11
        assert (await up.metric("llmrouter_usage_not_believed_total") > 0) == absurd


CLIMB = """\
default: small
fallback: {retries: 0}
rules: [{name: all, when: {}, strategy: cascade}]
cascade: {order: [small, big], accept: {}}
"""
FAULTS = [OVERFLOWS[0], OVERFLOWS[4], OURS[0], OURS[6], ("200 OK", error("worker died", code=500))]


@FORMS
@pytest.mark.parametrize(("status", "said"), FAULTS)
async def test_a_cascade_goes_on_where_a_step_is_not_the_callers_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool, status: str, said: Any
) -> None:
    """Too long, no credit, a limit, an error in a 200: the next step answers, streaming or not."""
    async with shop(tmp_path, CLIMB) as up:
        up.upstream.script["ok2"] = [says(monkeypatch, status, said)]
        router, _ = await up.billed(stream)
        outcomes = [(one["target"], one["outcome"]) for one in router["attempts"]]
        assert outcomes == [("small", "failed"), ("big", "ok")]


@FORMS
async def test_a_cascade_bills_what_a_useless_step_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """An empty answer, thought in the total alone, and the next step's answer on one bill."""
    counted = {"prompt_tokens": 20, "completion_tokens": 0, "total_tokens": 50}
    last = sse({"choices": [], "usage": counted})
    mode = replies(monkeypatch, completion(text="", usage=counted), ROLE, END, last, DONE)
    async with shop(tmp_path, CLIMB) as up:
        up.upstream.script["ok2"] = [mode]
        router, _ = await up.billed(stream)
        useless, answered = router["attempts"]
        assert useless["cost_usd"] == pytest.approx(usd(20, 30))
        assert router["cost_usd"] == pytest.approx(useless["cost_usd"] + answered["cost_usd"])


VENDORS: list[tuple[dict[str, Any], float]] = [
    ({"x_groq": {"usage": {"prompt_tokens": 30, "completion_tokens": 7}}}, usd(30, 7)),
    ({"timings": {"prompt_n": 10, "cache_n": 20, "predicted_n": 7}}, usd(30, 7, 20)),
    ({"prompt_eval_count": 30, "eval_count": 7}, usd(30, 7)),
    ({"meta": {"billed_units": {"input_tokens": 30, "output_tokens": 7}}}, usd(30, 7)),
    ({"usageMetadata": {"promptTokenCount": 30, "candidatesTokenCount": 7,
      "thoughtsTokenCount": 5, "totalTokenCount": 42}}, usd(30, 12)),
    ({"amazon-bedrock-invocationMetrics": {"inputTokenCount": 10, "outputTokenCount": 7,
      "cacheReadInputTokenCount": 20}}, usd(30, 7, 20)),
]  # fmt: skip


@FORMS
@pytest.mark.parametrize(("field", "cost"), VENDORS)
async def test_usage_in_a_vendors_field_is_billed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool, field: Any, cost: float
) -> None:
    """Groq's, llama.cpp's, Ollama's, Cohere's, Gemini's and Bedrock's own names."""
    last = sse({"id": "c", "choices": [], **field})
    whole = completion(usage=None)[:-1] + b"," + json.dumps(field).encode()[1:]
    mode = replies(monkeypatch, whole, ROLE, *WORDS, END, last, DONE)
    async with shop(tmp_path) as up:
        up.upstream.script["ok2"] = [mode]
        router, _ = await up.billed(stream)
        assert router["cost_usd"] == pytest.approx(cost)
        assert "cost_estimated" not in router["attempts"][0]


ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
COUNTED = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}
SPLIT = [
    (sse({"choices": [], "usage": COUNTED}), sse({"choices": [], "usage": ZEROS})),
    (sse({"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 0}}),
     sse({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 7}})),
    (sse({"choices": [], "x_groq": {"id": "r", "usage": COUNTED}}),),
    (sse({"choices": [], "timings": {"prompt_n": 30, "predicted_n": 7}}),),
]  # fmt: skip


@pytest.mark.parametrize("pieces", SPLIT, ids=["zeros", "split", "groq", "timings"])
async def test_usage_in_pieces_or_in_a_vendors_field_is_one_bill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...]
) -> None:
    """Zeros at the end erase nothing."""
    async with shop(tmp_path) as up:
        up.upstream.script["ok2"] = [replies(monkeypatch, b"", ROLE, *WORDS, END, *pieces, DONE)]
        router, _ = await up.billed(stream=True)
        assert router["cost_usd"] == pytest.approx(usd(30, 7))


NOTHING = [
    (completion(choices=[], usage=COUNTED), (ROLE, sse({"choices": [], "usage": COUNTED}), DONE)),
    (completion(text="", usage=COUNTED),
     (ROLE, END, sse({"choices": [], "usage": COUNTED}), DONE)),
    (json.dumps({"error": {"message": "x"}, "usage": COUNTED}).encode(),
     (sse({"choices": [], "usage": COUNTED}), sse({"error": {"message": "x"}}))),
    (completion(usage=COUNTED), ()),
]  # fmt: skip


@FORMS
@pytest.mark.parametrize(("body", "pieces"), NOTHING, ids=["choiceless", "empty", "error", "json"])
async def test_what_a_useless_reply_counted_is_billed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool, body: bytes, pieces: Any
) -> None:
    """The provider bills it; the other target's answer is billed beside it."""
    if not pieces and not stream:
        return  # plain JSON is an answer to a request that is no stream
    async with shop(tmp_path) as up:
        up.upstream.script["ok2"] = [replies(monkeypatch, body, *pieces)]
        router, _ = await up.billed(stream)
        failed, answered = router["attempts"]
        assert (failed["target"], failed["outcome"]) == ("small", "failed")
        assert failed["cost_usd"] == pytest.approx(usd(30, 7))
        assert router["cost_usd"] == pytest.approx(failed["cost_usd"] + answered["cost_usd"])


@pytest.mark.parametrize(
    "delta", [{"content": "x" * 189}, {"reasoning_content": "x" * 189}], ids=["text", "thought"]
)
async def test_a_stream_that_never_counts_is_billed_by_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delta: dict[str, str]
) -> None:
    """189,000 characters in 1,000 events are about 47,250 tokens, not 1,000."""
    mode = replies(monkeypatch, b"", ROLE, *[chunk(delta)] * 1000, END, DONE)
    async with shop(tmp_path) as up:
        up.upstream.script["ok2"] = [mode]
        router, _ = await up.billed(stream=True)
        assert router["attempts"][0]["cost_estimated"] is True
        assert router["cost_usd"] == pytest.approx(usd(0, 47_250), rel=0.02)


PARTS = [
    ({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}, "audio"),
    ({"type": "audio_url", "audio_url": {"url": "https://x.example/a.mp3"}}, "audio"),
    ({"type": "video_url", "video_url": {"url": "https://x.example/a.mp4"}}, "video"),
    ({"type": "input_video", "input_video": {"data": "AAAA"}}, "video"),
    ({"type": "file", "file": {"file_id": "f-1"}}, "files"),
    ({"type": "document", "source": {"type": "text", "data": "x"}}, "files"),
    ({"type": "hologram", "hologram": {}}, "part:hologram"),
]


@PATHS
@pytest.mark.parametrize(("part", "need"), PARTS)
async def test_no_part_goes_to_a_model_that_cannot_read_it(
    tmp_path: Path, path: str, part: dict[str, Any], need: str
) -> None:
    """Every target is out with its reason, and one that says it reads such parts serves."""
    messages = [{"role": "user", "content": [{"type": "text", "text": "what?"}, part]}]
    async with shop(tmp_path / "without") as up:
        code, _, body = await up.ask(path, messages=messages)
        assert code == 422
        assert f"lacks {need}" in orjson.loads(body)["error"]["message"]
        assert up.upstream.seen == []
    async with shop(tmp_path / "with", capabilities=f'"{need}"') as up:
        code, _, _ = await up.ask(path, messages=messages)
        assert code == 200


KEYS = {"api_keys": "alice:alice-key-0123", "headers": {"x-api-key": "alice-key-0123"}}
REMAINING = "x-ratelimit-remaining-tokens"


async def test_a_large_image_holds_what_an_image_costs(tmp_path: Path) -> None:
    """600 KB of it are about 1,400 tokens; 100,000 would not fit the quota at all."""
    data = base64.b64encode(png(1024, 1024) + bytes(600_000)).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    messages = [{"role": "user", "content": [image]}]
    async with shop(tmp_path, key_limits="* tokens=5000/h", **KEYS) as up:
        code, headers, _ = await up.ask(messages=messages, max_tokens=5)
        assert (code, headers["x-llmrouter-target"]) == (200, "big")
        assert int(headers[REMAINING]) >= 3500
        code, headers, _ = await up.ask(messages=messages, max_tokens=5)
        assert code == 200
        assert int(headers[REMAINING]) >= 3500  # the truth replaced the estimate


@PATHS
async def test_the_end_of_a_budget_is_429_with_a_time(tmp_path: Path, path: str) -> None:
    """Never a 422 about a limit that the caller did not set."""
    async with shop(tmp_path, key_limits="* spend_usd=0.02/h", **KEYS) as up:
        seen = [await up.ask(path, max_tokens=5) for _ in range(12)]
    assert {code for code, _, _ in seen} == {200, 429}
    refused = [(headers, body) for code, headers, body in seen if code == 429]
    for headers, body in refused:
        assert orjson.loads(body)["error"]["code"] == "insufficient_quota"
        assert 1 <= int(headers["Retry-After"]) <= 3780
        assert b"max_cost_usd" not in body


@FORMS
async def test_a_named_decision_and_a_tiny_limit_pass_no_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """What the caller says lowers nothing that is held, however many come at once."""
    mode = replies(
        monkeypatch,
        completion(usage={"prompt_tokens": 10, "completion_tokens": 100}),
        ROLE, *WORDS, END,
        sse({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 100}}), DONE,
    )  # fmt: skip
    async with shop(tmp_path, key_limits="* spend_usd=0.5/h", **KEYS) as up:
        up.upstream.script["ok2"] = [mode] * 40
        _, _, body = await up.ask("/route")
        named = {"decision_id": orjson.loads(body)["decision_id"], "max_cost_usd": 1e-9}
        asked = [up.ask(stream=stream, router=named, max_tokens=100) for _ in range(20)]
        answers = await asyncio.gather(*asked)
        passed = sum(code == 200 for code, _, _ in answers)
        assert {code for code, _, _ in answers} == {200, 429}
        assert passed * usd(10, 100) <= 0.5


async def test_a_named_decision_is_charged_for_the_prompt_that_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for the short one that was decided: its reply never counts, so the estimate is billed."""
    mode = replies(monkeypatch, completion(usage=None))
    async with shop(tmp_path) as up:
        up.upstream.script["ok2"] = [mode] * 2
        _, _, body = await up.ask("/route")
        named = {"decision_id": orjson.loads(body)["decision_id"]}
        long = [{"role": "user", "content": "word " * 4000}]
        router, _ = await up.billed(False, router=named, messages=long)
        assert router["cost_usd"] > usd(4900, 0)
        assert router["estimate"]["input_tokens"] > 4900


async def test_a_named_decision_does_not_send_an_image_to_a_text_model(tmp_path: Path) -> None:
    """The prompt that is sent is held against the target, not the one that was decided."""
    async with shop(tmp_path) as up:
        _, _, body = await up.ask("/route")
        named = {"decision_id": orjson.loads(body)["decision_id"]}
        image = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}
        messages = [{"role": "user", "content": [image]}]
        code, _, body = await up.ask(router=named, messages=messages)
        assert code == 422
        assert "lacks vision" in orjson.loads(body)["error"]["message"]


LLM_ROUTING = """\
default: small
router: {{model: tiny, base_url: "{url}", price: {{input: 1000, output: 1000}}}}
fallback: {{retries: 0}}
"""


async def test_route_is_refused_for_money_where_it_may_cost_a_router_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spent budget buys no router call either; without a router LLM, deciding is free."""
    async with FaultyUpstream() as routers:
        routing = LLM_ROUTING.format(url=routers.url("ok"))
        limits = {"key_limits": "* spend_usd=8/h", **KEYS}
        async with shop(tmp_path / "paid", routing, **limits) as up:
            assert (await up.ask("/route"))[0] == 200
            counted = {"prompt_tokens": 10, "completion_tokens": 7900}
            up.upstream.script["ok2"] = [replies(monkeypatch, completion(usage=counted))]
            assert (await up.ask(model="small", max_tokens=5))[0] == 200
            asked = routers.hits("ok")
            status, headers, body = await up.ask("/route", tools=[])
            assert (status, orjson.loads(body)["error"]["code"]) == (429, "insufficient_quota")
            assert int(headers["Retry-After"]) >= 1
            assert routers.hits("ok") == asked
    async with shop(tmp_path / "free", key_limits="* spend_usd=0.0001/h", **KEYS) as up:
        for _ in range(6):
            assert (await up.ask("/route"))[0] == 200
