"""The embeddings client against a scripted server: order, keys, and every way to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from llmrouter.domain.embedding_space import EncoderSpec
from llmrouter.errors import EncoderFailed
from llmrouter.upstream.embeddings import OpenAIEmbeddings

KEY = "sk-swordfish"
TEXT = "a private text"


class Scripted:
    """A server that answers with one status and body, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.status, self.body, self.headers = 200, b"{}", {"content-type": "application/json"}
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """The scripted answer."""
        self.asked.append((dict(request.headers), orjson.loads(await request.read())))
        return web.Response(body=self.body, status=self.status, headers=self.headers)

    def gives(self, *rows: Any, **more: Any) -> None:
        """Answer with these rows of data."""
        self.body = orjson.dumps({"data": rows, **more})

    def client(self, key_env: str | None = None, **env: str) -> OpenAIEmbeddings:
        """A client of it."""
        return OpenAIEmbeddings(EncoderSpec("openai", "m", self.url), key_env, env)


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    """The scripted server on a socket."""
    scripted = Scripted()
    app = web.Application()
    app.router.add_post("/v1/embeddings", scripted.answer)
    async with TestServer(app) as running:
        scripted.url = str(running.make_url("/v1"))
        yield scripted


def row(index: int, *values: float) -> dict[str, Any]:
    """One row of data."""
    return {"object": "embedding", "index": index, "embedding": list(values)}


async def failure(client: OpenAIEmbeddings) -> EncoderFailed:
    """How one text fails."""
    with pytest.raises(EncoderFailed) as caught:
        await client.embed([TEXT])
    await client.close()
    return caught.value


async def test_vectors_come_back_in_the_order_of_the_texts(server: Scripted) -> None:
    """Whatever order the server gives them in; no key is sent where none is named."""
    server.gives(row(1, 3.0, 4), row(0, 1.0, 2.0))
    client = server.client(OPENAI_API_KEY=KEY)
    assert await client.embed(["one", " \n"]) == [[1.0, 2.0], [3.0, 4]]
    await client.close()
    headers, document = server.asked[0]
    assert "Authorization" not in headers
    assert document == {"model": "m", "input": ["one", "."], "encoding_format": "float"}


@pytest.mark.parametrize(
    ("usage", "heard"),
    [({"prompt_tokens": 7}, [7]), ({}, []), (None, []), ({"prompt_tokens": "7"}, [])],
)
async def test_what_an_answer_took_is_told(
    server: Scripted, usage: object, heard: list[int]
) -> None:
    """As the server counts it; one that does not count costs nothing here."""
    server.gives(row(0, 1.0), usage=usage)
    told: list[int] = []
    client = OpenAIEmbeddings(EncoderSpec("openai", "m", server.url), spent=told.append)
    await client.embed([TEXT])
    await client.close()
    assert told == heard


async def test_vectors_of_tokens_become_their_mean(server: Scripted) -> None:
    """As a server does that does not pool."""
    server.gives({"index": 0, "embedding": [[1.0, 2.0], [3.0, 6.0]]})
    client = server.client()
    assert await client.embed([TEXT]) == [[2.0, 4.0]]
    await client.close()


async def test_the_named_key_is_sent_and_read_each_time(server: Scripted) -> None:
    """By the variable's name."""
    server.gives(row(0, 1.0))
    client = server.client("MY_KEY", MY_KEY=KEY)
    await client.embed([TEXT])
    await client.close()
    assert server.asked[0][0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("held", [None, "", "two\nlines", "ключ"])
async def test_a_key_that_is_not_usable_fails_before_the_call(
    server: Scripted, held: str | None
) -> None:
    """And the variable is named, never its value."""
    failed = await failure(server.client("MY_KEY", **({} if held is None else {"MY_KEY": held})))
    assert failed.kind == "misconfigured"
    assert "MY_KEY" in str(failed)
    assert not held or held not in str(failed)
    assert server.asked == []


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "misconfigured"), (404, "misconfigured"), (307, "misconfigured"),
                         (400, "http"), (429, "rate_limited"), (500, "http")],
)  # fmt: skip
async def test_a_refusal_says_its_status_and_neither_key_nor_text(
    server: Scripted, status: int, kind: str
) -> None:
    """A server may quote both."""
    server.status, server.headers["Location"] = status, "/elsewhere"
    server.body = orjson.dumps({"error": {"message": f"{KEY} sent {TEXT}", "code": "too_bad"}})
    failed = await failure(server.client("MY_KEY", MY_KEY=KEY))
    assert failed.kind == kind
    assert str(status) in failed.detail
    assert KEY not in str(failed)
    assert TEXT not in str(failed)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"{}", b'{"data": {}}', b'{"data": []}', b'{"data": [3]}',
        b'{"data": [{"index": 0}]}', b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": "AACAPw=="}]}',
        b'{"data": [{"index": 0, "embedding": [1, null]}]}',
        b'{"data": [{"index": 0, "embedding": [[1, 2], [3]]}]}',
        b'{"data": [{"index": 0, "embedding": [[]]}]}',
        b'{"data": [{"index": 0, "embedding": [[1], 2]}]}',
        b'{"data": [{"index": 7, "embedding": [1]}]}',
        b'{"data": [{"index": [], "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1]}]}',
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_is_malformed(server: Scripted, body: bytes) -> None:
    """HTML, another shape, too many, too few."""
    server.body = body
    assert (await failure(server.client())).kind == "malformed"


async def test_vectors_of_two_lengths_are_malformed(server: Scripted) -> None:
    """They are of two spaces."""
    server.gives(row(0, 1.0), row(1, 1.0, 2.0))
    client = server.client()
    with pytest.raises(EncoderFailed, match="one by one"):
        await client.embed(["a", "b"])
    await client.close()


async def test_nobody_there_is_a_failure_to_connect(
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    """No traceback of the transport gets out."""
    url = f"http://127.0.0.1:{unused_tcp_port_factory()}/v1"
    assert (await failure(OpenAIEmbeddings(EncoderSpec("openai", "m", url)))).kind == "connect"


async def test_a_caller_that_stops_waiting_leaves_nothing_behind(server: Scripted) -> None:
    """The wait is the caller's to bound."""

    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        raise AssertionError

    app = web.Application()
    app.router.add_post("/v1/embeddings", never)
    async with TestServer(app) as slow:
        client = OpenAIEmbeddings(EncoderSpec("openai", "m", str(slow.make_url("/v1"))))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.embed([TEXT])
        await client.close()
