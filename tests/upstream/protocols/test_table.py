"""The table in docs/protocols.md is the one in the code."""

from __future__ import annotations

from pathlib import Path

from llmrouter.upstream.protocols.table import table

PAGE = Path(__file__).parents[3] / "docs" / "protocols.md"
START, END = "<!-- table: start -->", "<!-- table: end -->"


def test_the_page_has_the_table_that_the_code_has() -> None:
    """`python -m llmrouter.upstream.protocols.table` prints it."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(START) == text.count(END) == 1
    assert text.partition(START)[2].partition(END)[0].strip() == table().strip()
