"""Splits text into words by tables of characters: faster than a pattern that finds each word."""

from __future__ import annotations

from typing import Final

_SPACE = 0x20


class _Letters(dict[int, int]):
    """For `str.translate`: every character but those of words becomes a space.

    Characters beyond ASCII are looked at each time: keeping them would keep as much as a text has.
    """

    def __init__(self, more: str = "") -> None:
        ascii_words = (c for c in map(chr, range(128)) if c.isalpha() or c in more)
        super().__init__(dict.fromkeys(range(128), _SPACE) | {ord(c): ord(c) for c in ascii_words})
        self._digits = bool(more)

    def __missing__(self, code: int) -> int:
        character = chr(code)
        if character.isalnum() and (self._digits or not character.isdecimal()):
            return code
        return _SPACE


_LETTERS: Final = _Letters()
_WORDS: Final = _Letters("0123456789_")


def letters(text: str) -> list[str]:
    """The runs of letters (and of numbers that are no decimal digits, such as ²)."""
    return text.translate(_LETTERS).split()


def words(text: str) -> list[str]:
    """The runs of letters, digits and underscores."""
    return text.translate(_WORDS).split()
