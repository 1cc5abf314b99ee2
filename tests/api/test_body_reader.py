"""What every routed call does first."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest

from llmrouter.util.lru import Recent
from tests.api.fakes import FakeGateway, client_of, services, serving

BODY = b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}'


async def test_bytes_that_come_again_are_kept_and_each_endpoint_reads_its_own() -> None:
    """From the second time on a body is one request; another path or byte is another one."""
    gateway = FakeGateway()
    async with client_of(services(gateway)) as client:
        for path in ("/route", "/route", "/route", "/v1/chat/completions"):
            assert (await client.post(path, BODY)).status == 200
        assert (await client.post("/route", BODY + b" ")).status == 200
    first, second, third, drop_in, other = (request for request, _ in gateway.asked)
    assert (first.kept, second.kept, drop_in.kept, other.kept) == (False, True, False, False)
    assert first == second
    assert third is second
    assert third.body == BODY


async def test_a_body_that_was_refused_is_refused_again() -> None:
    """Nothing is remembered of what could not be read, or of what one endpoint alone takes."""
    async with client_of(services()) as client:
        for _ in range(2):
            assert (await client.post("/route", b'{"messages":[]}')).status == 400
        bare = b'{"model":"auto","prompt":"hi"}'
        assert (await client.post("/route", bare)).status == 200
        assert (await client.post("/v1/chat/completions", bare)).status == 400


async def test_nothing_kept_changes_no_answer() -> None:
    """A memory without room only costs the reading."""
    gateway = FakeGateway()
    given = replace(services(gateway), read=Recent(0))
    async with client_of(given) as client:
        for _ in range(2):
            assert (await client.post("/route", BODY)).status == 200
    first, again = (request for request, _ in gateway.asked)
    assert first is not again
    assert first == again


@pytest.mark.parametrize("framing", [b"Content-Length: 500", b"Transfer-Encoding: chunked"])
async def test_a_body_that_stops_arriving_is_given_up(
    framing: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever left without a word would hold a place in the load for ever."""
    monkeypatch.setattr("llmrouter.api.body_reader.SILENT_S", 0.05)
    given = services()
    async with serving(given) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.split(":")[-1]))
        writer.write(b"POST /route HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readuntil(b"}}")
        writer.close()
        assert given.admission.running == 0
    assert head.startswith(b"HTTP/1.1 408 ")
    assert orjson.loads(body)["error"]["code"] == "http_error"


async def test_a_body_in_slow_pieces_is_read_whole() -> None:
    """In whatever pieces it comes."""
    gateway = FakeGateway()
    async with serving(services(gateway)) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.split(":")[-1]))
        writer.write(b"POST /route HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        for piece in (BODY[:10], BODY[10:]):
            await asyncio.sleep(0.01)
            writer.write(piece)
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert gateway.asked[0][0].body == BODY
