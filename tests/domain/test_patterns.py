"""Tests of the patterns: Python's meaning, RE2's time, and nothing that backtracks in the code."""

from __future__ import annotations

import gc
import importlib
import pickle
import pkgutil
import re
import sys

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

import llmrouter
from llmrouter.domain.patterns import (
    BytesPattern,
    Pattern,
    PatternRefused,
    compile_bytes,
    compile_pattern,
    quoted,
)

HOSTILE_BYTES = 100_000
PIECES = (
    *("#", "-", '"', " ", "\n", "a", "a ", "1", "1 ", "\\", "(", "<", "[", "\r\n", "{\n", "é "),
    *(
        "write -",
        'translate "',
        "what is the ",
        "select a from ",
        "answer:",
        "function (",
        "no no ",
    ),
    *("no no ", "```x\n", "2024-01-0", "0x", '"model" ', '{"a":', "#### ", "is this ", "\u0301"),
)
"""Beginnings of what some pattern of the code looks for; a hundred kilobytes of one is the worst
that a backtracking engine can be given."""


def every_pattern() -> list[Pattern | BytesPattern]:
    """All patterns that importing the whole package makes."""
    for module in pkgutil.walk_packages(llmrouter.__path__, "llmrouter."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return [one for one in gc.get_objects() if isinstance(one, Pattern | BytesPattern)]


def test_every_pattern_of_the_code_reads_its_worst_texts_without_backtracking() -> None:
    """A search is one call of RE2, however long and hostile the text; steps of Python are counted.

    RE2 promises time linear in the text (it has no backtracking to fall back on), so what is left
    to show is that each pattern is one of its own and that nothing around it loops.
    """
    patterns = every_pattern()
    assert len(patterns) > 60
    steps = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    for pattern in patterns:
        assert isinstance(pattern._compiled, re2._Regexp)
        for piece in PIECES:
            text = (piece * (HOSTILE_BYTES // len(piece.encode())))[:HOSTILE_BYTES]
            subject = text if isinstance(pattern, Pattern) else text.encode()
            steps = 0
            sys.setprofile(count)
            try:
                pattern.search(subject)  # type: ignore[arg-type]  # each takes its own kind
            finally:
                sys.setprofile(None)
            assert steps < 60, (pattern.pattern, piece)


def test_no_module_of_the_package_imports_a_backtracking_engine() -> None:
    """`re` and its kin stay out of every room, whatever name they are given."""
    every_pattern()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "llmrouter" and name != "llmrouter.catalog.starter":
            assert all(value is not re for value in vars(module).values()), name
            assert not any(isinstance(value, re.Pattern) for value in vars(module).values()), name


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^\w+$", "größe"),
        (r"^\w+$", "word\n"),
        (r"\d", "٣"),
        (r"a\sb", "a\u00a0b"),
        (r"[\w.-]+@", "jürgen.k@"),
        (r"[^\s]", " \u2003"),
        (r"[]a]", "]"),
        (r"[^]a]", "]a"),
        (r"[\s\S]x", "\nx"),
        (r"\bcat\b", "a cat."),
        (r"\bcat\b", "concat"),
        (r"(?i)ÜBER", "über"),
        (r"end\Z", "end"),
        (r"\u00e9t\u00e9", "été"),
        (r"a.c", "a\nc"),
        (r"\$5|\^", "$5"),
    ],
)
def test_a_pattern_means_what_python_takes_it_to_mean(pattern: str, text: str) -> None:
    """Classes are Unicode's, `$` stands before a last line feed, brackets may hold brackets."""
    assert bool(compile_pattern(pattern).search(text)) is bool(re.search(pattern, text))


@given(st.text(max_size=40), st.text(max_size=10))
def test_quoted_text_matches_itself_alone(text: str, part: str) -> None:
    """Operators' titles and names are text, never patterns."""
    assert bool(compile_pattern(quoted(part)).search(text)) is (part in text)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("a(?=b)", "has look-ahead `(?=…)`"),
        ("(?<!a)b", "has negative look-behind `(?<!…)`"),
        (r"(a)\1", "has a back-reference"),
        ("(?P<n>a)(?P=n)", "has a back-reference"),
        ("(?>a)", "has an atomic group"),
        (r"[\W_]", r"has \W inside […]"),
        (r"\bübung", r"has `\b` beside a letter outside ASCII"),
        ("(", "is no valid regular expression (RE2): missing )"),
        ("a{5000}", "is no valid regular expression (RE2): invalid repetition size"),
    ],
)
def test_what_re2_cannot_do_is_refused_with_what_to_write(pattern: str, told: str) -> None:
    """The message names the construct, and the pattern never runs on another engine instead."""
    with pytest.raises(PatternRefused) as refused:
        compile_pattern(pattern)
    assert told in str(refused.value)


def test_half_a_surrogate_pair_is_no_crash() -> None:
    """What is no character counts as a question mark, and positions stay those of the text."""
    found = compile_pattern("b").search("\ud800ab")
    assert found is not None
    assert found.start() == 2


def test_patterns_of_one_source_are_equal_and_travel_between_processes() -> None:
    """A catalog compares its rules and sends them to the preview's process."""
    one, same = compile_pattern("a+"), compile_pattern("a+")
    assert one == same
    assert hash(one) == hash(same)
    assert one != compile_pattern("a*")
    assert pickle.loads(pickle.dumps(one)).search("xaa")[0] == "aa"  # noqa: S301 - our own bytes


def test_bytes_are_matched_byte_by_byte() -> None:
    """Bytes that are no UTF-8 match `.`, and a search may begin in the middle."""
    pattern = compile_bytes(rb"\xff.")
    assert pattern.search(b"a\xff\n") is not None
    assert pattern.search(b"\xff\xfe\xff\xfd", 1).start() == 2  # type: ignore[union-attr]
