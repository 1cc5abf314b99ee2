"""Compatibility characters that stay themselves in the normal form, because they change a number.

NFKC makes `105` of `10⁵`, `31⁄2` of `3½` and `51日` of `5㏠`: other questions than were asked. Kept
are superscripts, subscripts, fractions, circled and parenthesised characters, Roman numerals, and
everything else that becomes digits, but for full-width, half-width and font variants of digits,
which mean the same. While a text is folded they wait as private-use characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final
from unicodedata import category, decomposition, normalize

from llmrouter.domain.unicode import nfkc

_BLOCKS: Final = (
    range(0xAA, 0x3400),
    range(0xA690, 0xAB70),
    range(0x10780, 0x107BB),
    range(0x1E030, 0x1E06E),
    range(0x1F100, 0x1F252),
)
"""Where such characters are; the tests look for them everywhere."""
_LIGATURES: Final = (range(0x2000, 0x2180), range(0x2470, 0x2A10), range(0x3200, 0x3400))
_WORDS: Final = range(0xFDF0, 0xFDFD)
EXPANDING_FROM: Final = 4
"""Characters that become as many or more are weighed by what they become."""
_ALWAYS: Final = frozenset({"<super>", "<sub>", "<fraction>", "<circle>"})
_NEVER: Final = frozenset({"<wide>", "<narrow>", "<font>"})
_PRIVATE: Final = 0x10F000


@dataclass(frozen=True, slots=True)
class _Kept:
    """The kept characters, the table to private-use characters and the one back."""

    characters: frozenset[str]
    private: frozenset[str]
    there: dict[int, int]
    back: dict[int, int]


def is_kept(character: str) -> bool:
    """Whether folding `character` would make another number of a number."""
    kind, arrow, _ = decomposition(character).partition(">")
    kind += arrow
    if not arrow or kind in _NEVER:
        return False
    if kind in _ALWAYS or category(character) == "Nl":
        return True
    return any(one.isnumeric() for one in normalize("NFKC", character))


@cache
def _kept() -> _Kept:
    found = [code for block in _BLOCKS for code in block if is_kept(chr(code))]
    private = {code: _PRIVATE + number for number, code in enumerate(found)}
    cased = {code: ord(chr(code).casefold()) for code in found if len(chr(code).casefold()) == 1}
    return _Kept(
        frozenset(map(chr, found)),
        frozenset(map(chr, private.values())),
        {code: private.get(cased.get(code, code), private[code]) for code in found},
        {stand_in: code for code, stand_in in private.items()},
    )


@cache
def _expanding() -> dict[str, int]:
    """Characters that stand for several, and for how many: up to eighteen."""
    codes = (code for block in (*_LIGATURES, _WORDS) for code in block)
    lengths = {chr(code): len(normalize("NFKC", chr(code))) for code in codes}
    return {one: length for one, length in lengths.items() if length >= EXPANDING_FROM}


def folded_length(text: str) -> int:
    """About how many characters `folded` makes of a text."""
    if text.isascii():
        return len(text)
    expanding = _expanding()
    present = expanding.keys() & set(text)
    return len(text) + sum((expanding[one] - 1) * text.count(one) for one in present)


def folded(text: str) -> str:
    """NFKC and case folding of `text`, but for the characters that are kept."""
    kept, present = _kept(), set(text)
    if not kept.private.isdisjoint(present):  # or they would come back as what they stand for
        text = text.translate(dict.fromkeys(kept.back, "\ufffd"))
    if kept.characters.isdisjoint(present):
        return nfkc(text).casefold()
    return nfkc(text.translate(kept.there)).casefold().translate(kept.back)
