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

import re
from typing import Final
from unicodedata import normalize

_DAY = r"(?:(?<=1)9|(?<=2)0)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_COMPACT = r"(?:(?<=1)9|(?<=2)0)[0-9]{6}t[0-9]{6}z?"
_SECONDS = r":[0-5][0-9](?:[.,][0-9]+)?"
_ZONE = r" ?(?:z|utc|gmt|[+-][0-2][0-9]:?[0-5][0-9])"
_VOLATILE: Final = re.compile(
    # The first character is read before what stands in front of it is checked, so that the scan
    # can skip to characters that may start a match; `(?<=…)` then looks at that first character.
    r"[0-9a-f](?<![0-9a-z].)(?:"
    r"(?P<uuid>[0-9a-f]{7}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
    r"|(?P<hex>(?<=[a-f])(?=[a-f]*[0-9])[0-9a-f]{15,}"
    r"|(?<=[0-9])(?=[0-9]*[a-f])[0-9a-f]{15,}"
    r"|(?<=0)x[0-9a-f]{9,})"
    rf"|(?P<time>{_DAY}(?:[t ][0-2][0-9]:[0-5][0-9](?:{_SECONDS})?(?:{_ZONE})?)?"
    rf"|{_COMPACT}"
    rf"|(?<=[0-2])[0-9]:[0-5][0-9]{_SECONDS}(?:{_ZONE})?)"
    r"|(?P<number>(?<=[0-9])[0-9]{8,}(?:\.[0-9]+)?)"
    r")(?![0-9a-z])"
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
_double_space: Final = re.compile(b"  ").search


def normalise(text: str) -> str:
    """The normal form of one turn's text; `normalise(normalise(x)) == normalise(x)`."""
    if not text.isascii():
        return _normalise_unicode(text)
    folded = text.encode("ascii").translate(_FOLD)
    folded = b" ".join(folded.split()) if _double_space(folded) else folded.strip()
    text = folded.decode("ascii")
    return _VOLATILE.sub(_placeholder, text) if _may_match(folded) else text


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
        folded = " ".join(normalize("NFKC", text).casefold().split())
        if _may_match(folded.encode("ascii", "replace")):
            replaced = _VOLATILE.sub(_placeholder, folded)
            if replaced != folded:
                text = replaced
                continue
        if folded == text or normalize("NFKC", folded).casefold() == folded:
            return folded
        text = folded


def _placeholder(match: re.Match[str]) -> str:
    return f"<{match.lastgroup}>"
