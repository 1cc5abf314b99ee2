"""Tests of compressed bodies on a real socket: key and size first, unpacking bounded."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace
from typing import Any

import pytest

from llmrouter.api import body_decoder
from llmrouter.auth.api_keys import Authenticator, parse_keys
from tests.api.fakes import FakeGateway, client_of, services

BODY = b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}'
KEY = {"Authorization": "Bearer secret"}


@pytest.fixture
def unpackings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the bodies that were unpacked."""
    seen: list[int] = []
    inner = body_decoder.Unpacker._unpack

    def counted(self: Any, body: bytes, encoding: str) -> bytes:
        seen.append(len(body))
        return inner(self, body, encoding)

    monkeypatch.setattr(body_decoder.Unpacker, "_unpack", counted)
    return seen


def raw_deflate(data: bytes) -> bytes:
    """Deflate without zlib's header, as many clients send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("x-gzip", gzip.compress(BODY, mtime=0)),
        ("GZIP", gzip.compress(BODY[:10], mtime=0) + gzip.compress(BODY[10:], mtime=0)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
        ("identity", BODY),
    ],
    ids=["gzip", "x-gzip", "two-members", "zlib", "raw", "identity"],
)
async def test_a_packed_body_is_the_body(encoding: str, packed: bytes) -> None:
    """What is decided on and relayed is what was packed."""
    gateway = FakeGateway()
    async with client_of(services(gateway)) as client:
        answer = await client.post("/route", packed, headers={"Content-Encoding": encoding})
    assert answer.status == 200
    assert gateway.asked[0][0].body == BODY


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "x"])
async def test_other_encodings_are_refused_unread(encoding: str) -> None:
    """A clear 415 that says what to send."""
    async with client_of(services()) as client:
        answer = await client.post("/route", BODY, headers={"Content-Encoding": encoding})
    assert answer.status == 415
    assert "gzip, deflate or none" in answer.error["message"]


@pytest.mark.parametrize("path", ["/route", "/complete", "/v1/chat/completions", "/feedback"])
async def test_nothing_is_unpacked_without_a_key(path: str, unpackings: list[int]) -> None:
    """A caller without a key costs no more than reading its headers, after the refusal too."""
    keyring = Authenticator(parse_keys("me:secret"))
    bomb = gzip.compress(bytes(5_000_000))
    async with client_of(replace(services(), keyring=keyring)) as client:
        for _ in range(3):
            answer = await client.post(path, bomb, headers={"Content-Encoding": "gzip"})
            assert answer.status == 401
        assert unpackings == []
        headers = {"Content-Encoding": "gzip", **KEY}
        known = await client.post(path, gzip.compress(BODY, mtime=0), headers=headers)
    assert known.status != 401
    assert len(unpackings) == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_given_up_at_the_bound(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the body's limit nor the ratio is passed by more than one step of unpacking."""
    grown = 0
    inner = zlib.decompressobj

    class Counting:
        """A decompressor that counts what it gave."""

        def __init__(self, wbits: int) -> None:
            self._inner = inner(wbits)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal grown
            piece = self._inner.decompress(data, most)
            grown += len(piece)
            return piece

    monkeypatch.setattr(body_decoder.zlib, "decompressobj", Counting)  # type: ignore[attr-defined]
    packed = (gzip if encoding == "gzip" else zlib).compress(bytes(200_000_000))
    async with client_of(services()) as client:
        answer = await client.post("/route", packed, headers={"Content-Encoding": encoding})
    assert answer.status == 413
    assert grown <= services().max_body_bytes + body_decoder._STEP


async def test_a_ratio_no_json_has_is_refused() -> None:
    """A megabyte out of a kilobyte is no request."""
    async with client_of(services()) as client:
        packed = gzip.compress(bytes(1_000_000))
        answer = await client.post("/route", packed, headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.error["code"]) == (413, "compression_ratio")


@pytest.mark.parametrize(
    "packed",
    [
        BODY,
        gzip.compress(BODY, mtime=0)[:-9],
        gzip.compress(BODY, mtime=0) + b"more",
        gzip.compress(b"", mtime=0) * 40,
    ],
    ids=["plain", "cut", "followed", "members"],
)
async def test_what_is_no_gzip_is_told(packed: bytes) -> None:
    """Cut off, followed by something else, or not packed at all: a 400, and the service goes on."""
    async with client_of(services()) as client:
        answer = await client.post("/route", packed, headers={"Content-Encoding": "gzip"})
        assert (answer.status, answer.error["code"]) == (400, "invalid_body")
        assert (await client.post("/route", BODY)).status == 200
