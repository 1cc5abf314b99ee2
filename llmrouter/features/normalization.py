"""Maps prompts that ask the same thing in the same words to one string.

The rules (docs/normalisation.md) are: Unicode NFKC and case folding, white space as single spaces,
and volatile parts (UUIDs, long hexadecimal ids, ISO dates and times, numbers of nine digits and
more) as placeholders. Short numbers stay, because `7*8` and `7*9` are different questions. The
function is pure, accepts any `str` (lone surrogates included), and is idempotent.

It runs once a turn on the hot path, so ASCII text takes a short way: one table maps case and white
space, a second one maps every character to its class, and the regular expression runs only where
the classes show a part that could match.
"""

from __future__ import annotations

from typing import Final

from llmrouter.domain.patterns import compile_bytes
from llmrouter.features.compatibility import folded

_DAY = rb"(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_COMPACT = rb"(?:19|20)[0-9]{6}t[0-9]{6}z?"
_SECONDS = rb":[0-5][0-9](?:[.,][0-9]+)?"
_ZONE = rb" ?(?:z|utc|gmt|[+-][0-2][0-9]:?[0-5][0-9])"
_VOLATILE: Final = compile_bytes(
    # It reads text in which `_` is `~`, so that `\b` is where a whole word begins or ends. It has
    # no groups, because they cost RE2 most of its time: the kind of a part shows in its characters.
    rb"\b(?:"
    rb"(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
    rb"|(?:[0-9]{9,}(?:\.[0-9]+)?)"
    rb"|(?:[0-9a-f]{16,}|0x[0-9a-f]{9,})"
    rb"|(?:%b(?:[t ][0-2][0-9]:[0-5][0-9](?:%b)?(?:%b)?)?"
    rb"|%b|[0-2][0-9]:[0-5][0-9]%b(?:%b)?)"
    rb")\b" % (_DAY, _SECONDS, _ZONE, _COMPACT, _SECONDS, _ZONE)
)

_SPACES: Final = b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"
_FOLD: Final = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ" + _SPACES,
    b"abcdefghijklmnopqrstuvwxyz" + b" " * len(_SPACES),
)
_CLASSES: Final = bytes(
    ord("x") if chr(code) in "0123456789abcdef" else code if chr(code) in "-:t" else ord(" ")
    for code in range(256)
)
# What every volatile part shows in classes: a long run, a UUID, a day, a clock, a compact time.
_RUN, _UUID, _DATE = b"xxxxxxxxx", b"xxxxxxxx-xxxx-", b"xxxx-xx-xx"
_CLOCK, _STAMP = b"xx:xx:xx", b"xxxxxxxxt"
_LONG: Final = b"xxxxxxxx"  # within _RUN, _UUID and _STAMP


def normalise(text: str) -> str:
    """The normal form of one turn's text; `normalise(normalise(x)) == normalise(x)`."""
    if not text.isascii():
        return _normalise_unicode(text)
    data = text.encode("ascii").translate(_FOLD)
    data = b" ".join(data.split()) if b"  " in data else data.strip()
    return (_replaced(data) if _may_match(data) else data).decode("ascii")


def _may_match(text: bytes) -> bool:
    """Whether the classes show a part that could match; never false where one does."""
    classes = text.translate(_CLASSES)
    return (
        (_LONG in classes and (_RUN in classes or _UUID in classes or _STAMP in classes))
        or (b"-" in text and _DATE in classes)
        or (b":" in text and _CLOCK in classes)
    )


def _normalise_unicode(text: str) -> str:
    """The same rules, repeated until nothing changes.

    Case folding can undo NFKC, and a mark that followed a replaced part may combine with the
    placeholder; each repetition has fewer such places. Where nothing was replaced, the end is seen
    without a second repetition: the spaces are single already, and no part can match.
    """
    while True:
        form = " ".join(folded(text).split())
        if _may_match(form.encode("ascii", "replace")):
            data = form.encode("utf-8", "surrogatepass")
            replaced = _replaced(data)
            if replaced != data:
                text = replaced.decode("utf-8", "surrogatepass")
                continue
        if form == text or folded(form) == form:
            return form
        text = form


def _replaced(text: bytes) -> bytes:
    """`text` (UTF-8) with its volatile parts as placeholders."""
    pieces: list[bytes] = []
    kept = 0
    for found in _VOLATILE.finditer(text.replace(b"_", b"~")):
        start, end = found.span()
        name = _kind(text[start:end])
        if name is not None:
            pieces += text[kept:start], name
            kept = end
    return b"".join((*pieces, text[kept:])) if pieces else text


def _kind(part: bytes) -> bytes | None:
    """The placeholder of a volatile part; None for a run of letters alone, which is no id."""
    if b":" in part or b"t" in part:
        return b"<time>"
    if b"-" in part:
        return b"<uuid>" if len(part) == 36 else b"<time>"
    if part.isalpha():
        return None
    return b"<hex>" if part.isalnum() and not part.isdigit() else b"<number>"
