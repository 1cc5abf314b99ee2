"""What never reaches a handler is answered like everything else, and quotes nothing."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api.fakes import services, serving
from tests.samples import examples

LONG = b"x" * 10_000
SECRET = b"sk-hidden"


async def said(address: str, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to raw bytes, with which the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    writer.write(data)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + LONG + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 500 + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: " + SECRET + b"\x00\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"POST /route HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /route HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n{}", 400),
        (b"GET / HTTP/9.9 or so\r\n\r\n", 400),
    ],
)
async def test_what_is_not_http_gets_an_envelope(
    data: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients parse one shape, whoever refused; neither answer nor log repeats what was sent."""
    async with serving(services()) as address:
        got, headers, body = await said(address, data)
    assert got == status
    assert headers["content-type"] == "application/json"
    error = orjson.loads(body)["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "http_error")
    assert SECRET not in body
    assert SECRET.decode() not in caplog.text


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip"])
async def test_a_body_packed_in_a_way_that_cannot_be_read_is_told_so(
    encoding: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the parser or the handler finds out; and a caller's mistake is no error of ours."""
    head = b"POST /route HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: " + encoding
    async with serving(services()) as address:
        status, _, body = await said(address, head + b"\r\nContent-Length: 6\r\n\r\nplain!")
    message = orjson.loads(body)["error"]["message"]
    assert status == (400 if encoding == b"gzip" else 415)
    assert "content-encoding" in message.lower()
    assert "\n" not in message
    assert not caplog.records


@settings(max_examples=examples(60))
@given(
    st.sampled_from([b"", b"GET ", b"POST /route HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"]),
    st.binary(max_size=80),
)
async def test_no_bytes_are_a_defect(start: bytes, more: bytes) -> None:
    """Whatever comes over the wire is answered with a 4xx or less, or not at all."""
    async with serving(services()) as address:
        data = start + more + b"\r\nConnection: close\r\n\r\n\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
    if answer:
        assert int(answer.split(maxsplit=2)[1]) < 500
