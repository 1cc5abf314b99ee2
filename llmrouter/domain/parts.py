"""What the parts of a message are that are not text: which capability each needs, and its tokens.

Callers spell the same thing in many ways (`image_url`, `input_image`, `image` with a `source`;
`input_audio`, `audio_url`; `video_url`, `input_video`; `file`, `input_file`, `document`). A part is
known by its type and by the media type of what it carries, so a video in an `image_url` needs
`video` as well. A type that is not known needs the capability `part:<type>`, which a target has
only where its catalog file says so.

Token counts follow what providers publish, and count a little too much rather than too little:

- images by their size: OpenAI's tiles (85, and 170 for each 512 x 512 of the image scaled to
  2048 x 2048 and then to 768 on its shorter side; `detail: low` is 85) or Anthropic's width x
  height / 750, whichever is more; 765 (1024 x 1024) where the size is not known. The size is read
  from the first bytes of a PNG, JPEG, GIF or WebP, nothing is decoded.
- audio 32 a second (Gemini; OpenAI counts 10), video 300 a second (Gemini);
- documents 2,000 a page of 50 KB (Anthropic: 1,500 to 3,000), text files a quarter of a byte.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from llmrouter.domain.chat import ChatRequest

LIKE_TEXT: Final = frozenset(
    {
        "text",
        "input_text",
        "output_text",
        "summary_text",
        "refusal",
        "thinking",
        "redacted_thinking",
        "reasoning",
        "tool_use",
        "tool_call",
        "tool_result",
    }
)
"""Types of parts that every model reads."""
IMAGE_TOKENS: Final = 765
LOW_DETAIL_TOKENS: Final = 85
AUDIO_TOKENS_PER_S: Final = 32
VIDEO_TOKENS_PER_S: Final = 300
PAGE_TOKENS: Final = 2000
OTHER_TOKENS: Final = 500
_UNKNOWN_S: Final = 60.0  # of a recording that stands elsewhere
_AUDIO_BYTES_PER_S: Final = 8_000  # 64 kbit/s
_VIDEO_BYTES_PER_S: Final = 125_000  # 1 Mbit/s
_PAGE_BYTES: Final = 50_000
_MOST_IMAGE: Final = 1600
_HEADER_CHARS: Final = 128 * 1024  # of base64: where a JPEG with a preview says its size
_BY_WORD: Final = (
    ("image", "vision"),
    ("audio", "audio"),
    ("video", "video"),
    ("file", "files"),
    ("document", "files"),
    ("pdf", "files"),
)
_MODALITIES: Final = {"audio": "audio", "image": "image_output"}


@dataclass(frozen=True, slots=True)
class Media:
    """What a request carries beside text. `encoded` is how many bytes of its body that takes."""

    needs: frozenset[str] = frozenset()
    tokens: int = 0
    encoded: int = 0


NOTHING: Final = Media()


def media_of(request: ChatRequest) -> Media:
    """The parts of all messages that are not text."""
    if all(message.text and not message.parts for message in request.messages):
        return NOTHING
    turns = request.document.get("messages")
    needs: set[str] = set()
    tokens = encoded = 0
    for turn in turns if isinstance(turns, list) else ():
        if not isinstance(turn, dict):
            continue
        if isinstance(turn.get("audio"), dict):  # an answer that was spoken, named by its id
            needs.add("audio")
            tokens += int(_UNKNOWN_S * AUDIO_TOKENS_PER_S)
        for part in _parts(turn.get("content")):
            media = part_of(part)
            needs |= media.needs
            tokens += media.tokens
            encoded += media.encoded
    return Media(frozenset(needs), tokens, encoded)


def output_needs(modalities: object) -> set[str]:
    """What a target must be able to answer with (`modalities`)."""
    if not isinstance(modalities, list):
        return set()
    asked = {name for name in modalities if isinstance(name, str) and name != "text"}
    return {_MODALITIES.get(name, f"part:{name[:40]}") for name in asked}


def part_of(part: Mapping[str, Any]) -> Media:
    """One part of a message."""
    kind = part.get("type")
    if not isinstance(kind, str) or kind in LIKE_TEXT:
        return NOTHING
    media_type, data, where = _source(part, kind)
    by_kind = next((need for word, need in _BY_WORD if word in kind), None)
    by_type = _of_type(media_type)
    needs = {need for need in (by_kind, by_type) if need is not None}
    if by_kind == "files":
        needs = {"files"}  # whatever is in it, it comes as a file
    elif not needs:
        needs = {f"part:{kind[:40]}"}
    family = by_type if by_type is not None and by_kind != "files" else by_kind
    detail = where.get("detail") or part.get("detail")
    tokens = _tokens(family, by_type, data, detail == "low")
    return Media(frozenset(needs), tokens, len(data))


def _parts(content: object, depth: int = 3) -> Iterable[Mapping[str, Any]]:
    """The parts of a content, those of tool results in it included."""
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            yield part
            if depth and isinstance(part.get("content"), list):
                yield from _parts(part["content"], depth - 1)


def _source(part: Mapping[str, Any], kind: str) -> tuple[str, str, Mapping[str, Any]]:
    """The media type, the base64 data ("" where it stands elsewhere), and the object around it."""
    given = part.get(kind)
    if isinstance(given, str):
        given = {"url": given}
    places = [given, part.get("source"), part.get("file"), part.get("inline_data"), part]
    for place in places:
        if not isinstance(place, dict):
            continue
        for name in ("data", "file_data", "url", "image_url", "file_url", "audio", "bytes"):
            value = place.get(name)
            if isinstance(value, str) and value:
                return (*_split(value, place, name), place)
    return "", "", part


def _split(value: str, place: Mapping[str, Any], name: str) -> tuple[str, str]:
    said = place.get("media_type") or place.get("mime_type") or place.get("format") or ""
    said = said if isinstance(said, str) else ""
    if value.startswith("data:"):
        head, _, data = value[:200].partition(",")
        return head[5:].partition(";")[0].lower(), value[len(head) + 1 :] if data else ""
    if name in ("data", "file_data", "audio", "bytes"):
        return said.lower(), value
    return said.lower(), ""


def _of_type(media_type: str) -> str | None:
    """The capability for a media type; "wav" and "mp3" are audio as well, "" is none."""
    family = media_type.partition("/")[0]
    if family in ("image", "audio", "video"):
        return "vision" if family == "image" else family
    if media_type in ("wav", "mp3", "pcm16", "flac", "opus", "ogg", "m4a", "aac"):
        return "audio"
    return "files" if family in ("application", "text") else None


def _tokens(need: str | None, by_type: str | None, data: str, low: bool) -> int:
    size = len(data) * 3 // 4
    if need == "vision":
        return LOW_DETAIL_TOKENS if low else image_tokens(_dimensions(data))
    if need == "audio":
        seconds = _audio_s(data, size) if data else _UNKNOWN_S
        return ceil(seconds * AUDIO_TOKENS_PER_S)
    if need == "video":
        return ceil((size / _VIDEO_BYTES_PER_S if data else _UNKNOWN_S) * VIDEO_TOKENS_PER_S)
    if need == "files":
        if not data:
            return 2 * PAGE_TOKENS
        if by_type == "files" and not data.startswith("JVBER"):  # %PDF
            return max(1, size // 4) if _plain(data) else PAGE_TOKENS * ceil(size / _PAGE_BYTES)
        return PAGE_TOKENS * max(1, ceil(size / _PAGE_BYTES))
    return OTHER_TOKENS


def image_tokens(dimensions: tuple[int, int] | None) -> int:
    """Tokens of an image of this width and height in pixels."""
    if dimensions is None or min(dimensions) <= 0:
        return IMAGE_TOKENS
    width, height = dimensions
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    tiles = ceil(width * scale / 512) * ceil(height * scale / 512)
    by_area = min(_MOST_IMAGE, width * height // 750)
    return max(LOW_DETAIL_TOKENS + 170 * tiles, by_area)


def _head(data: str, chars: int) -> bytes:
    """The first bytes of base64 data; b"" where it is none."""
    part = data[: chars - chars % 4]
    try:
        return binascii.a2b_base64(part)
    except (ValueError, binascii.Error):
        return b""


def _plain(data: str) -> bool:
    """Whether a file seems to be text."""
    head = _head(data, 1024)
    return bool(head) and b"\0" not in head


def _dimensions(data: str) -> tuple[int, int] | None:
    """Width and height from an image's first bytes, or None."""
    head = _head(data, 64)
    if head.startswith(b"\x89PNG") and len(head) >= 24:
        width, height = struct.unpack(">II", head[16:24])
        return int(width), int(height)
    if head.startswith(b"GIF8") and len(head) >= 10:
        width, height = struct.unpack("<HH", head[6:10])
        return int(width), int(height)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP" and len(head) >= 30:
        return _webp(head)
    if head.startswith(b"\xff\xd8"):
        return _jpeg(_head(data, _HEADER_CHARS))
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    if head[12:16] == b"VP8X":
        width = int.from_bytes(head[24:27], "little") + 1
        return width, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", head[26:30])
    return int(width) & 0x3FFF, int(height) & 0x3FFF


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """From the frame header, segment by segment."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return int(width), int(height)
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None


def _audio_s(data: str, size: int) -> float:
    """Seconds of a recording: by the byte rate in a WAV's header, else at 64 kbit/s."""
    head = _head(data, 64)
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE" and len(head) >= 32:
        rate = int.from_bytes(head[28:32], "little")
        if rate >= 1000:
            return size / rate
    return size / _AUDIO_BYTES_PER_S
