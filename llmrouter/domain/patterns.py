"""Regular expressions whose time is linear in the text, whatever the pattern and the text are.

Python's `re` backtracks: a pattern whose parts overlap takes minutes on a line of dashes, and holds
the event loop meanwhile. Text of callers, upstreams and operators is therefore matched by RE2 alone
(https://github.com/google/re2/wiki/Syntax); `re` is banned by lint in this package.

RE2's `\\w`, `\\d` and `\\s` know ASCII only, so `compile_pattern` spells out Python's Unicode
classes. Its `\\b` stays an ASCII word boundary: beside a letter such as `ü` use `START` and `END`,
which take up the character next to the word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, cast

import re2

START: Final = r"(?:^|\W)"
"""The beginning of a word in any script, with the character before it."""
END: Final = r"(?:\W|$)"
"""The end of a word in any script, with the character after it."""

_WORD, _SPACE, _DIGIT = r"\pL\pN_", r"\s\x0b\x1c-\x1f\x{85}\p{Z}", r"\p{Nd}"
_CLASSES: Final = {
    "w": (f"[{_WORD}]", _WORD),
    "W": (f"[^{_WORD}]", None),
    "s": (f"[{_SPACE}]", _SPACE),
    "S": (f"[^{_SPACE}]", None),
    "d": (_DIGIT, _DIGIT),
    "D": (r"\P{Nd}", r"\P{Nd}"),
    "Z": (r"\z", None),
}
_ANYTHING: Final = frozenset({r"[\s\S]", r"[\S\s]", r"[\w\W]", r"[\W\w]", r"[\d\D]", r"[\D\d]"})
_ADVICE: Final = (
    ("(?=", "look-ahead", "match what follows, or write two rules"),
    ("(?!", "negative look-ahead", "write the allowed characters, such as [^x]"),
    ("(?<=", "look-behind", "match what stands before, or use \\b"),
    ("(?<!", "negative look-behind", "match what stands before, such as (?:^|[^x])"),
    ("(?>", "an atomic group", "write a plain group (?:…)"),
    ("(?P=", "a back-reference", "write the text out"),
    ("(?(", "a conditional group", "write both alternatives"),
    ("(?#", "a comment", "leave it out"),
)


class PatternRefused(ValueError):
    """A pattern that RE2 does not take; the message says what to write instead."""


class Match(Protocol):
    """Where a pattern matched. Positions are in characters of text, or in bytes."""

    def __getitem__(self, group: int) -> Any: ...

    def group(self, group: int = 0) -> Any:
        """What a group matched."""
        ...

    def start(self, group: int = 0) -> int:
        """Where it begins; -1 where the group took no part."""
        ...

    def end(self, group: int = 0) -> int:
        """Where it ends."""
        ...

    def span(self, group: int = 0) -> tuple[int, int]:
        """Both."""
        ...

    def groups(self) -> tuple[Any, ...]:
        """What every group matched, None for those that took no part."""
        ...


class Pattern:
    """A compiled pattern for text. `pattern` is its source; patterns of one source are equal."""

    __slots__ = ("_compiled", "pattern")

    def __init__(self, pattern: str, compiled: Any) -> None:
        self.pattern = pattern
        self._compiled = compiled

    def __repr__(self) -> str:
        return f"Pattern({self.pattern!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and other.pattern == self.pattern

    def __hash__(self) -> int:
        return hash(self.pattern)

    def search(self, text: str) -> Match | None:
        """The first match anywhere."""
        return cast(Match | None, self._compiled.search(_encodable(text)))

    def match(self, text: str) -> Match | None:
        """The match at the beginning."""
        return cast(Match | None, self._compiled.match(_encodable(text)))

    def fullmatch(self, text: str) -> Match | None:
        """The match of the whole text."""
        return cast(Match | None, self._compiled.fullmatch(_encodable(text)))

    def finditer(self, text: str) -> Iterator[Match]:
        """Every match that does not overlap an earlier one."""
        return cast(Iterator[Match], self._compiled.finditer(_encodable(text)))

    def findall(self, text: str) -> list[Any]:
        """The text of every match, or of its groups where the pattern has some."""
        return cast(list[Any], self._compiled.findall(_encodable(text)))

    def sub(self, replacement: str | Callable[[Match], str], text: str) -> str:
        """`text` with every match replaced."""
        return cast(str, self._compiled.sub(replacement, _encodable(text)))

    def split(self, text: str, maxsplit: int = 0) -> list[str]:
        """The pieces between matches."""
        return cast(list[str], self._compiled.split(_encodable(text), maxsplit))

    def found_in(self, data: bytes) -> bool:
        """Whether the pattern matches anywhere in text that is UTF-8 already."""
        return self._compiled.search(data) is not None


class BytesPattern:
    """A compiled pattern for bytes, each of which is one character."""

    __slots__ = ("_compiled", "pattern")

    def __init__(self, pattern: bytes, compiled: Any) -> None:
        self.pattern = pattern
        self._compiled = compiled

    def search(self, data: bytes, at: int = 0) -> Match | None:
        """The first match from `at` on."""
        return cast(Match | None, self._compiled.search(data, at))

    def match(self, data: bytes, at: int = 0) -> Match | None:
        """The match that begins at `at`."""
        return cast(Match | None, self._compiled.match(data, at))

    def finditer(self, data: bytes) -> Iterator[Match]:
        """Every match that does not overlap an earlier one."""
        return cast(Iterator[Match], self._compiled.finditer(data))


def compile_pattern(
    pattern: str, *, ignore_case: bool = False, multiline: bool = False, dot_all: bool = False
) -> Pattern:
    """A pattern for text, in Python's spelling. Raises PatternRefused."""
    flags = "i" * ignore_case + "m" * multiline + "s" * dot_all
    spelt = (f"(?{flags})" if flags else "") + _translated(
        pattern, lines="(?m" in pattern or multiline
    )
    return Pattern(pattern, _compiled(spelt, pattern, re2.Options()))


def compile_bytes(pattern: bytes, *, ignore_case: bool = False) -> BytesPattern:
    """A pattern for bytes, in RE2's spelling; `.` is any byte. Raises PatternRefused."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.dot_nl = True
    options.case_sensitive = not ignore_case
    return BytesPattern(pattern, _compiled(pattern, pattern.decode("latin-1"), options))


def quoted(text: str) -> str:
    """A pattern that matches `text` literally."""
    return cast(str, re2.escape(text))


def _compiled(spelt: str | bytes, pattern: str, options: Any) -> Any:
    options.log_errors = False
    try:
        return re2.compile(spelt, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise PatternRefused(_explained(pattern, error)) from None


def _explained(pattern: str, error: Exception) -> str:
    for opening, name, instead in _ADVICE:
        if opening in pattern:
            return f"has {name} `{opening}…)`, which linear-time matching cannot do: {instead}"
    for number in range(1, 10):
        if f"\\{number}" in pattern.replace("\\\\", ""):
            return "has a back-reference, which linear-time matching cannot do: write the text out"
    said = error.args[0] if error.args else error
    reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return f"is no valid regular expression (RE2): {reason}"


def _translated(pattern: str, *, lines: bool) -> str:
    """Python's classes, `$` and escapes in RE2's spelling; `lines` says that `$` ends a line."""
    pieces: list[str] = []
    at, inside = 0, False
    while at < len(pattern):
        character = pattern[at]
        if not inside and pattern[at : at + 6] in _ANYTHING:
            pieces.append("(?s:.)")
            at += 6
            continue
        if character == "\\" and at + 1 < len(pattern):
            spelling, length = _escape(pattern, at, inside=inside)
            pieces.append(spelling)
            at += length
            continue
        if not inside and character == "[":
            inside = True
            pieces.append(character)
            at += 1
            for opening in ("^", "]"):  # a bracket that comes first stands for itself
                if pattern.startswith(opening, at):
                    pieces.append("\\]" if opening == "]" else opening)
                    at += 1
            continue
        if inside and character == "[" and not pattern.startswith("[:", at):
            character = "\\["
        elif inside and character == "]":
            inside = False
        elif not inside and character == "$" and not lines:
            character = "(?:\n?\\z)"  # Python's `$` also stands before a last line feed
        pieces.append(character)
        at += 1
    return "".join(pieces)


def _escape(pattern: str, at: int, *, inside: bool) -> tuple[str, int]:
    """The escape that begins at `at` in RE2's spelling, and its length in `pattern`."""
    letter = pattern[at + 1]
    digits = {"u": 4, "U": 8}.get(letter)
    if digits is not None:
        return f"\\x{{{pattern[at + 2 : at + 2 + digits]}}}", 2 + digits
    if not inside and letter == "b":
        beside = (pattern[at - 1 : at] if at else "") + pattern[at + 2 : at + 3]
        if any(one.isalpha() and not one.isascii() for one in beside):
            raise PatternRefused(
                "has `\\b` beside a letter outside ASCII, where it never matches: write "
                "(?:^|[^\\pL]) before the word, (?:[^\\pL]|$) after it"
            )
    spelling = _CLASSES.get(letter)
    if spelling is None:
        return pattern[at : at + 2], 2
    outside, within = spelling
    if not inside:
        return outside, 2
    if within is None:
        raise PatternRefused(
            f"has \\{letter} inside […]: write the characters that may stand there"
        )
    return within, 2


def _encodable(text: str) -> str:
    """`text`, with `?` for halves of surrogate pairs, which are no characters of UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
