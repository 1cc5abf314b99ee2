"""An answer in one write is the answer that `web.Response` would have sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from llmrouter.fastpath.response import FullResponse

HEADERS = {"Content-Type": "application/json", "x-llmrouter-target": "small"}
BODY = b'{"a":1}'


@asynccontextmanager
async def answering(make: type[web.Response] | None, **how: object) -> AsyncIterator[int]:
    """A port where every request is answered by one class."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        status = int(str(how.get("status", 200)))
        if make is FullResponse:
            made: web.Response = FullResponse(BODY, HEADERS, status)
        else:
            made = web.Response(body=BODY, headers=HEADERS, status=status)
        if how.get("close"):
            made.force_close()
        return made

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def heard(port: int, request: bytes) -> tuple[bytes, Mapping[str, str], bytes]:
    """Status line, headers and the rest, read until the server closes or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head, _, rest = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
    headers = dict(line.split(": ", 1) for line in head and rest.decode().split("\r\n") if line)
    body = await reader.readexactly(int(headers.get("Content-Length", 0)))
    writer.close()
    await writer.wait_closed()
    return head, headers, body


@pytest.mark.parametrize("how", [{}, {"status": 429}, {"close": True}])
@pytest.mark.parametrize(
    "line",
    [
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"POST /x HTTP/1.0\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_it_reads_like_any_other_answer(how: dict[str, object], line: bytes) -> None:
    """Same status line, same headers but for the clock's, same body; kept open or not alike."""
    async with answering(web.Response, **how) as plain, answering(FullResponse, **how) as whole:
        expected, got = await heard(plain, line), await heard(whole, line)
    assert got[0] == expected[0]
    assert {**got[1], "Date": ""} == {**expected[1], "Date": ""}
    assert got[2] == expected[2] == BODY


async def test_the_connection_serves_the_next_request() -> None:
    """Two requests on one connection get two answers."""
    async with answering(FullResponse) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(BODY)) == BODY
        writer.close()
        await writer.wait_closed()


async def test_a_header_cannot_smuggle_another() -> None:
    """A line break in a value fails the answer; nothing of it leaves."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return FullResponse(BODY, {"x-reason": "a\r\nSet-Cookie: b"})

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert b"Set-Cookie" not in await reader.read()
        writer.close()
        await writer.wait_closed()
    finally:
        await runner.cleanup()
