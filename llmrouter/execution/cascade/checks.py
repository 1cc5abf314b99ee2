"""Checks of an answer's text that need nothing but the text. Pure.

Each takes the text and the value configured in routing.yaml (`checks: [{max_chars: 800}, …]`) and
returns what is wrong, or None.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache

import orjson

from llmrouter.domain.patterns import Pattern, PatternRefused, compile_pattern, quoted
from llmrouter.domain.unicode import nfkc

_FENCE = compile_pattern(
    r"^```[ \t]*([\w+#.-]*)[^\n]*\n(.*?)^```[ \t]*$", multiline=True, dot_all=True
)
_FENCE_LINE = compile_pattern("^```", multiline=True)
_WORD = compile_pattern(r"\w+")
_FINAL = compile_pattern(
    r"(?:####\s*|\\boxed\{|(?:final )?answer(?: is)?\s*[:=]?\s*|result(?: is)?\s*[:=]\s*)([^\n}]+)",
    ignore_case=True,
)


def regex(text: str, value: object) -> str | None:
    """The text must hold a match of the pattern."""
    pattern = _compiled(str(value))
    if pattern is None:
        return f"the pattern {value!r} is no regular expression"
    return None if pattern.search(text) else f"nothing matches {value!r}"


def exact(text: str, value: object) -> str | None:
    """The text, trimmed, must be one of the listed answers."""
    allowed = value if isinstance(value, list | tuple | set | frozenset) else (value,)
    return None if text.strip() in {str(one) for one in allowed} else "not one of the exact answers"


def min_chars(text: str, value: object) -> str | None:
    """At least so many characters."""
    return None if len(text) >= _number(value) else f"{len(text)} characters, fewer than {value}"


def max_chars(text: str, value: object) -> str | None:
    """At most so many characters."""
    return None if len(text) <= _number(value) else f"{len(text)} characters, more than {value}"


def required_sections(text: str, value: object) -> str | None:
    """Each title must stand at the start of a line, marked as a heading or not."""
    titles = value if isinstance(value, list | tuple) else (value,)
    for title in titles:
        if not _heading(str(title)).search(text):
            return f"the section {str(title)!r} is missing"
    return None


@lru_cache(maxsize=256)
def _heading(title: str) -> Pattern:
    marks = r"^\s*(?:#{1,6}\s*|\*\*|\d+[.)]\s*)?"
    return compile_pattern(marks + quoted(title), multiline=True, ignore_case=True)


def json_valid(text: str, value: object) -> str | None:
    """The text must be JSON (one code fence around it is fine); False switches it off."""
    if value is False:
        return None
    fenced = _FENCE.fullmatch(text.strip())
    try:
        orjson.loads(fenced[2] if fenced else text)
    except orjson.JSONDecodeError as error:
        return f"not valid JSON: {error}"
    return None


def code_fence(text: str, value: object) -> str | None:
    """A closed code fence must be there; a string asks for that language."""
    if value is False:
        return None
    if len(_FENCE_LINE.findall(text)) % 2:
        return "a code fence is not closed"
    languages = {match[1].lower() for match in _FENCE.finditer(text)}
    if not languages:
        return "no code fence"
    if isinstance(value, str) and value.lower() not in languages:
        return f"no code fence in {value}"
    return None


CHECKS: Mapping[str, Callable[[str, object], str | None]] = {
    "regex": regex,
    "exact": exact,
    "min_chars": min_chars,
    "max_chars": max_chars,
    "required_sections": required_sections,
    "json": json_valid,
    "code_fence": code_fence,
}


def agreement(texts: list[str]) -> float:
    """The share (0..1) of further samples that say what the first one says."""
    first, rest = texts[0], texts[1:]
    return sum(agree(first, other) for other in rest) / len(rest) if rest else 1.0


def agree(one: str, other: str) -> bool:
    """Whether two answers say the same: equal final answers, or mostly the same words."""
    a, b = _final(one), _final(other)
    if a is not None and b is not None:
        return a == b
    words, others = _words(one), _words(other)
    if min(len(words), len(others)) <= 8:
        return words == others
    mine, theirs = set(words), set(others)
    return len(mine & theirs) / len(mine | theirs) >= 0.5


def _final(text: str) -> tuple[str, ...] | None:
    marked = _FINAL.findall(text)
    return tuple(_words(marked[-1])) or None if marked else None


def _words(text: str) -> list[str]:
    return _WORD.findall(nfkc(text).casefold())


_SCRIPTS = (
    ("CYRILLIC", "ru"),
    ("HIRAGANA", "ja"),
    ("KATAKANA", "ja"),
    ("HANGUL", "ko"),
    ("CJK", "zh"),
    ("ARABIC", "ar"),
    ("GREEK", "el"),
    ("HEBREW", "he"),
    ("DEVANAGARI", "hi"),
    ("THAI", "th"),
)
_COMMON = {
    "en": ["the", "and", "of", "to", "is", "that", "with", "for", "are", "this", "not", "was"],
    "de": ["der", "die", "das", "und", "ist", "nicht", "mit", "ein", "eine", "für", "auf", "den"],
    "fr": ["le", "la", "les", "et", "est", "une", "des", "pour", "dans", "que", "pas", "vous"],
    "es": ["el", "los", "las", "y", "es", "una", "para", "por", "que", "con", "del", "como"],
    "it": ["il", "gli", "che", "di", "è", "una", "per", "con", "non", "del", "sono", "della"],
    "pt": ["o", "os", "que", "de", "é", "uma", "para", "com", "não", "do", "da", "são"],
    "nl": ["de", "het", "een", "en", "van", "is", "niet", "met", "voor", "zijn", "op", "dat"],
}


def language_of(text: str) -> str | None:
    """The language's two-letter code, from its script or its commonest words; None when unsure."""
    letters = [letter for letter in text[:2000] if letter.isalpha()]
    if len(letters) < 10:
        return None
    foreign: dict[str, int] = {}
    for letter in letters:
        if letter > "\u0370":
            name = unicodedata.name(letter, "")
            for script, code in _SCRIPTS:
                if name.startswith(script):
                    foreign[code] = foreign.get(code, 0) + 1
                    break
    if sum(foreign.values()) > len(letters) / 2:
        if foreign.get("ja", 0) > 0.05 * len(letters):
            return "ja"
        return max(foreign, key=lambda code: foreign[code])
    words = [word.casefold() for word in _WORD.findall(text[:4000])]
    scores = {code: sum(word in common for word in words) for code, common in _COMMON.items()}
    ordered = sorted(scores, key=lambda code: -scores[code])
    best, second = ordered[0], ordered[1]
    return best if scores[best] >= 3 and scores[best] > 1.3 * scores[second] else None


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Pattern | None:
    try:
        return compile_pattern(pattern, multiline=True)
    except PatternRefused:
        return None
