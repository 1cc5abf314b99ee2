"""Whatever an upstream sends, a caller gets a documented answer: hypothesis writes the bytes.

The HTTP side, the executor and the relay are the real ones, on real sockets; only the decision is
given. Replies are made of well-formed pieces and of noise, cut anywhere, and end as they like.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmrouter.domain.catalog import Catalog, Fallback
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.deadline import NEVER
from llmrouter.execution.executor import Execution, Executor
from llmrouter.execution.plan import ExecutionRequest
from llmrouter.upstream.client import UpstreamClient, UpstreamLimits
from llmrouter.upstream.health import TargetHealth
from tests.api.fakes import FakeGateway, services, serving
from tests.fakes import RecordingObserver, a_catalog, a_decision, a_target
from tests.faulty import COUNTS, DONE, END, ROLE, WORDS, completion
from tests.samples import examples

OURS = {"upstream_failed", "overloaded", "deadline_exceeded"}
LIMITS = UpstreamLimits(connect_s=5.0)


@dataclass
class Script:
    """An upstream that answers every request with the same bytes, in the given pieces."""

    pieces: list[bytes] = field(default_factory=list)
    reset: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            for piece in self.pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if self.reset:
                writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Executing(FakeGateway):
    """A gateway that always decides the same and executes it for real."""

    def __init__(self, catalog: Catalog, executor: Executor) -> None:
        super().__init__(catalog)
        self._executor = executor

    async def complete(self, request: ChatRequest, caller: Caller) -> Execution:  # type: ignore[override]  # the real thing
        """An execution at both targets in turn."""
        decision = a_decision("small", "large")
        return self._executor.run(ExecutionRequest(request, decision, self.current, NEVER, caller))


@asynccontextmanager
async def standing(script: Script) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """The service over the script, and a client."""
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    targets = [a_target(name, base_url=base, api_key_env=None) for name in ("small", "large")]
    catalog = a_catalog(*targets, fallback=Fallback(retries=0))
    relay = UpstreamClient(limits=LIMITS)
    executor = Executor(relay, RecordingObserver(), TargetHealth(threshold=10**9))
    try:
        async with (
            serving(services(Executing(catalog, executor))) as address,
            aiohttp.ClientSession() as session,
        ):
            yield address, session
    finally:
        await relay.close()
        server.close()
        await server.wait_closed()


NOISE = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=30).map(str.encode),
    st.sampled_from(
        [
            b"data: {}\n\n",
            b"data: null\n\n",
            b"data: [1]\n\n",
            b'data: {"choices": null}\n\n',
            b'data: {"choices": [{"delta": 7}]}\n\n',
            b'data: {"choices": [{"index": 0, "delta": {"content": ["x"]}}], "usage": "much"}\n\n',
            b'data: {"error": {"message": "no", "code": 500}}\n\n',
            b'data: {"error": "no"}\n\n',
            b": a comment\n\n",
            b"event: error\ndata: boom\n\n",
            b"data: \n\n",
            b"data\r\n\r\n",
            b"\xef\xbb\xbf",
            b"\x00",
            b"data: \xff\xfe\n\n",
            b'data: {"id": "x\ndata: y"}\n\n',
        ]
    ),
)
GOOD = st.sampled_from([ROLE, *WORDS, END, COUNTS, DONE])
EVENTS = st.lists(GOOD | NOISE, max_size=8).map(b"".join)
BODIES = st.one_of(
    EVENTS,
    NOISE,
    st.sampled_from([completion(), completion()[:-7], b"", b"null", b"[]", b'{"choices": []}']),
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["choices", "message", "content", "usage", "error", "delta", "id"]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    ).map(orjson.dumps),
)
STATUSES = st.sampled_from([200, 200, 200, 200, 201, 204, 302, 400, 404, 413, 422, 429, 500, 503])
TYPES = st.sampled_from(
    ["application/json", "text/event-stream", "text/event-stream; charset=utf-8", "text/html", ""]
)


@st.composite
def replies(draw: st.DrawFn, stream: bool) -> list[bytes]:
    """The pieces of one reply, cut at up to four places; every second one begins well."""
    if draw(st.booleans()):
        media = "text/event-stream" if stream else "application/json"
        begun = ROLE + WORDS[0] + draw(EVENTS) + draw(st.sampled_from([DONE, b""]))
        status, body = 200, begun if stream else completion() + draw(st.sampled_from([b"", b" "]))
    else:
        status, media, body = draw(STATUSES), draw(TYPES), draw(BODIES)
    head = [f"HTTP/1.1 {status} X", "Connection: close"]
    head += [f"Content-Type: {media}"] if media else []
    if (shift := draw(st.sampled_from([None, None, 0, 0, 3, -3]))) is not None:
        head.append(f"Content-Length: {max(0, len(body) + shift)}")
    whole = "\r\n".join(head).encode() + b"\r\n\r\n" + body
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def well_ended(text: bytes) -> bool:
    """Whether a stream says how it ended: `[DONE]`, or an error as its last event.

    A server that leaves `[DONE]` out after the last choice has finished is relayed as it is.
    """
    events = [event for event in text.replace(b"\r\n", b"\n").split(b"\n\n") if event.strip()]
    if not events:
        return False
    last = events[-1].rpartition(b"data: ")[2]
    finished = b'"finish_reason": "stop"' in text
    return finished or last.strip() == b"[DONE]" or b'"error"' in last


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", ["/complete", "/v1/chat/completions"])
def test_any_reply_of_an_upstream_becomes_a_documented_answer(
    path: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A completion, the upstream's own refusal, or our envelope; a stream always says its end."""
    script = Script()
    asked: dict[str, Any] = {
        "model": "auto",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": stream,
    }
    outcomes: set[int] = set()

    async def ask(session: aiohttp.ClientSession, address: str) -> None:
        async with asyncio.timeout(30), session.post(address + path, json=asked) as response:
            body = await response.read()
            outcomes.add(response.status)
            if response.status == 200:
                is_stream = response.content_type == "text/event-stream"
                if is_stream:
                    assert well_ended(body), (script.pieces, body)
                else:
                    assert isinstance(orjson.loads(body), dict)
            elif response.status >= 500:
                assert response.status in (502, 503, 504)
                assert orjson.loads(body)["error"]["code"] in OURS | {None}
            else:
                assert 400 <= response.status < 500
            assert response.headers["x-llmrouter-decision-id"]

    with asyncio.Runner() as runner:
        context = standing(script)
        address, session = runner.run(context.__aenter__())

        @settings(max_examples=examples(250), suppress_health_check=list(HealthCheck))
        @given(replies(stream), st.booleans())
        def fuzz(pieces: list[bytes], reset: bool) -> None:
            script.pieces, script.reset = pieces, reset
            runner.run(ask(session, address))

        try:
            fuzz()
        finally:
            runner.run(context.__aexit__(None, None, None))
    assert {200, 502} <= outcomes
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]
