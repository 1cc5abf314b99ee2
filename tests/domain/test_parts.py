"""What a part of a message needs and counts, in every spelling."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.domain.parts import (
    IMAGE_TOKENS,
    LOW_DETAIL_TOKENS,
    Media,
    image_tokens,
    media_of,
    output_needs,
    part_of,
)


def png(width: int, height: int) -> bytes:
    """A PNG's beginning."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


def jpeg(width: int, height: int, before: int = 0) -> bytes:
    """A JPEG's beginning; `before` bytes of a preview stand before its size."""
    preview = b""
    while before > 0:
        size = min(before, 60_000)
        preview += b"\xff\xe1" + struct.pack(">H", size + 2) + bytes(size)
        before -= size
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8" + preview + frame


def wav(seconds: int) -> bytes:
    """A recording at 16,000 samples of two bytes a second."""
    head = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 0, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16
    )
    return head + bytes(32_000 * seconds)


def encoded(data: bytes) -> str:
    """As base64."""
    return base64.b64encode(data).decode()


def url(data: bytes, kind: str = "image/png") -> str:
    """As a data URL."""
    return f"data:{kind};base64,{encoded(data)}"


def an_image(link: str, **more: str) -> dict[str, Any]:
    """OpenAI's spelling."""
    return {"type": "image_url", "image_url": {"url": link, **more}}


SPELLINGS: list[tuple[dict[str, Any], set[str]]] = [
    (an_image("https://x.example/a.png"), {"vision"}),
    ({"type": "image_url", "image_url": "https://x.example/a.png"}, {"vision"}),
    ({"type": "input_image", "image_url": url(png(8, 8))}, {"vision"}),
    ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
     {"vision"}),
    ({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}, {"audio"}),
    ({"type": "audio_url", "audio_url": {"url": "https://x.example/a.mp3"}}, {"audio"}),
    ({"type": "audio", "audio": {"data": "UklG", "format": "mp3"}}, {"audio"}),
    ({"type": "video_url", "video_url": {"url": "https://x.example/a.mp4"}}, {"video"}),
    ({"type": "input_video", "input_video": {"data": "AAAA"}}, {"video"}),
    ({"type": "video", "source": {"type": "url", "url": "https://x.example/a.mp4"}}, {"video"}),
    ({"type": "file", "file": {"file_id": "f-1"}}, {"files"}),
    ({"type": "file", "file": {"file_data": url(png(8, 8))}}, {"files"}),
    ({"type": "input_file", "file_data": url(b"%PDF-1.7", "application/pdf")}, {"files"}),
    ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf",
      "data": "JVBER"}}, {"files"}),
    (an_image(url(b"x", "video/mp4")), {"vision", "video"}),
    (an_image(url(b"%PDF", "application/pdf")), {"vision", "files"}),
    ({"type": "media", "media": {"url": url(b"x", "audio/ogg")}}, {"audio"}),
    ({"type": "hologram", "hologram": {"url": "https://x.example"}}, {"part:hologram"}),
    ({"type": "point_cloud"}, {"part:point_cloud"}),
    ({"type": "text", "text": "x"}, set()),
    ({"type": "refusal", "refusal": "no"}, set()),
    ({"type": "thinking", "thinking": "hm"}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("part", "needs"), SPELLINGS)
def test_every_spelling_needs_its_capability(part: dict[str, Any], needs: set[str]) -> None:
    """By its type and by what it carries; a type that is not known needs that very type."""
    assert part_of(part).needs == needs


@pytest.mark.parametrize(
    ("dimensions", "tokens"),
    [
        ((512, 512), 349),  # by area
        ((512, 1024), 699),  # by area
        ((1024, 1024), 1398),  # by area
        ((4096, 4096), 1600),  # the most an area counts
        ((4096, 1024), 1600),
        ((600, 40), 425),  # two tiles
        ((1, 1), 255),  # one tile
        (None, IMAGE_TOKENS),
        ((0, 7), IMAGE_TOKENS),
    ],
)
def test_an_image_counts_by_its_size(dimensions: tuple[int, int] | None, tokens: int) -> None:
    """OpenAI's tiles or Anthropic's area, whichever is more."""
    assert image_tokens(dimensions) == tokens


@pytest.mark.parametrize(
    "data",
    [png(1200, 600), jpeg(1200, 600), jpeg(1200, 600, before=70_000)],
    ids=["png", "jpeg", "preview"],
)
def test_the_size_is_read_from_the_first_bytes(data: bytes) -> None:
    """Of each format, behind a preview too; nothing is decoded."""
    assert part_of(an_image(url(data + bytes(500_000)))).tokens == image_tokens((1200, 600))


def test_other_formats_say_their_size_too() -> None:
    """GIF, and the three kinds of WebP."""
    gif = b"GIF89a" + struct.pack("<HH", 300, 200)
    lossy = b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + struct.pack("<HH", 300, 200)
    lossless = b"RIFF\0\0\0\0WEBPVP8L" + bytes(5) + struct.pack("<I", 299 | 199 << 14) + bytes(9)
    extended = b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + (299).to_bytes(3, "little")
    extended += (199).to_bytes(3, "little")
    for data in (gif, lossy, lossless, extended):
        assert part_of(an_image(url(data + bytes(64)))).tokens == image_tokens((300, 200))


def test_low_detail_is_cheap_and_sounds_count_by_their_length() -> None:
    """As providers bill them."""
    assert part_of(an_image(url(png(4000, 4000)), detail="low")).tokens == LOW_DETAIL_TOKENS
    spoken = {"type": "input_audio", "input_audio": {"data": encoded(wav(10)), "format": "wav"}}
    assert part_of(spoken).tokens == pytest.approx(320, abs=3)
    seen = {"type": "video_url", "video_url": {"url": url(bytes(1_250_000), "video/mp4")}}
    assert part_of(seen).tokens == pytest.approx(3000, abs=3)
    paper = {
        "type": "file",
        "file": {"file_data": url(b"%PDF" + bytes(600_000), "application/pdf")},
    }
    assert part_of(paper).tokens == 13 * 2000
    notes = {"type": "file", "file": {"file_data": url(b"word " * 800, "text/plain")}}
    assert part_of(notes).tokens == pytest.approx(1000, abs=2)


def test_results_of_tools_and_spoken_answers_count() -> None:
    """A picture in a tool's result, and an answer that is named by its id."""
    nested = {"type": "tool_result", "content": [an_image(url(png(8, 8)))]}
    turns = [
        {"role": "user", "content": [nested]},
        {"role": "assistant", "content": None, "audio": {"id": "a-1"}},
    ]
    request = parse(orjson.dumps({"messages": turns}), Endpoint.COMPLETE)
    assert media_of(request).needs == {"vision", "audio"}


def test_text_alone_costs_no_look_at_the_parts() -> None:
    """The usual request."""
    body = orjson.dumps({"messages": [{"role": "user", "content": "hi"}]})
    assert media_of(parse(body, Endpoint.COMPLETE)) == Media()


def test_what_is_asked_as_an_answer_needs_its_capability_too() -> None:
    """Sound, pictures, and what is not known."""
    assert output_needs(["text", "audio", "image"]) == {"audio", "image_output"}
    assert output_needs(["smell"]) == {"part:smell"}
    assert output_needs("audio") == set()


ANY = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=40)
    | st.sampled_from(["data:image/png;base64,iVBORw0KGgo="]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "url", "data", "image_url", "source", "file", "detail", "format"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["type", "image_url", "source", "file", "x", "content"]), ANY)
)
def test_no_part_breaks_it(part: dict[str, Any]) -> None:
    """Parts come from anyone."""
    media = part_of(part)
    assert media.tokens >= 0
    assert media.encoded >= 0


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x89PNG", b"GIF8", b"\xff\xd8", b"RIFF\0\0\0\0WEBP"]),
)
def test_no_image_breaks_it(data: bytes, head: bytes) -> None:
    """Their first bytes may say anything; no image counts more than the largest."""
    assert 85 <= part_of(an_image(url(head + data))).tokens <= 1600 + 170 * 8
