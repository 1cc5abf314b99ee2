"""What every routed call does first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import orjson
import pytest

from llmrouter.api.body_limits import Timeouts
from llmrouter.api.load_shedding import LoadShedder
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


@pytest.mark.parametrize("timeouts", [{"body_silence_s": 0.05}, {"body_s": 0.05}])
@pytest.mark.parametrize("framing", [b"Content-Length: 500", b"Transfer-Encoding: chunked"])
async def test_a_body_that_stops_arriving_is_given_up(
    framing: bytes, timeouts: dict[str, float]
) -> None:
    """Else whoever left without a word would hold a place in the load for ever."""
    given = replace(services(), timeouts=Timeouts(**timeouts))
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


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a state that the other side of a socket brings about."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - the service has no event for it
            await asyncio.sleep(0.01)


async def test_dripping_bodies_hold_no_place_in_the_load() -> None:
    """A full house of bodies that never end refuses nobody whose body is here."""
    given = services(admission=LoadShedder(2))
    async with client_of(given) as client:
        port = int(client.address.split(":")[-1])
        dripping = []
        for _ in range(2):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /route HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
            dripping.append(writer)
        await until(lambda: given.admission.unfinished == 2)
        assert given.admission.running == 0
        assert (await client.post("/route", BODY)).status == 200
        _, third = await asyncio.open_connection("127.0.0.1", port)
        third.write(b"POST /route HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
        await until(lambda: given.admission.refused > 0)
        for writer in (*dripping, third):
            writer.close()


async def test_a_connection_without_whole_headers_is_ended() -> None:
    """Whether nothing comes, or a header a second: the socket is given back with a 408."""
    given = replace(services(), timeouts=Timeouts(header_s=0.2))
    async with serving(given) as address:
        for opening in (b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(address.split(":")[-1]))
            writer.write(opening)
            async with asyncio.timeout(30):
                answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b'"error"' in answer


async def test_a_second_request_that_drips_its_headers_is_ended_too() -> None:
    """The bound holds for every request of a connection, not for its first alone."""
    given = replace(services(), timeouts=Timeouts(header_s=0.2))
    async with serving(given) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.split(":")[-1]))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(30):
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
            writer.write(b"GET /heal")
            answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_closed_and_a_slow_answer_is_not() -> None:
    """Time counts between requests only: an answer may take longer than both bounds."""
    gateway = FakeGateway()
    hold = asyncio.Event()
    inner = gateway.decide

    async def slow(*given: object) -> object:
        await hold.wait()
        return await inner(*given)  # type: ignore[arg-type]

    gateway.decide = slow  # type: ignore[method-assign, assignment]
    given = replace(services(gateway), timeouts=Timeouts(header_s=0.05, idle_s=0.1))
    async with serving(given) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.split(":")[-1]))
        writer.write(b"POST /route HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        writer.write(BODY)
        asyncio.get_running_loop().call_later(0.5, hold.set)
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"408" not in answer
