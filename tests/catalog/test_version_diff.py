"""What differs between two versions, as text and as fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrouter.catalog.version_diff import diff, unified
from llmrouter.catalog.versions import Author, record
from llmrouter.errors import NotFound
from tests.catalog.prompts_dir import LARGE, SMALL, files, written


def test_texts_and_fields_are_compared(tmp_path: Path) -> None:
    """A changed price is a line of the diff and a field of its target."""
    record(written(tmp_path), files(), Author())
    edited = {**files(small=SMALL.replace("0.25,", "0.3,")), "catalog/third.md": LARGE}
    record(tmp_path, edited, Author())
    found = diff(tmp_path, "1", None).public()
    assert (found["from"], found["to"], found["problem"]) == ("1", "2", None)
    assert [(one["path"], one["kind"]) for one in found["files"]] == [
        ("catalog/small.md", "changed"), ("catalog/third.md", "added"),
    ]  # fmt: skip
    lines = found["files"][0]["diff"].splitlines()
    assert lines[:2] == ["--- catalog/small.md", "+++ catalog/small.md"]
    assert "-price: {input: 0.25, cached_input: 0.025, output: 2.0}" in lines
    assert "+price: {input: 0.3, cached_input: 0.025, output: 2.0}" in lines
    assert [one["text"] for one in found["changes"]] == [
        "target small: price.input 0.25 → 0.3", "target third added",
    ]  # fmt: skip
    assert diff(tmp_path, "2", "1").public()["files"][1]["kind"] == "removed"
    with pytest.raises(NotFound):
        diff(tmp_path, "1", "9")


def test_a_version_that_can_no_longer_be_read_is_compared_as_text(tmp_path: Path) -> None:
    """The reason stands in the fields' place."""
    record(written(tmp_path), files(), Author())
    record(tmp_path, files(small="broken"), Author())
    found = diff(tmp_path, "1", "2")
    assert (len(found.files), found.changes) == (1, ())
    assert found.problem is not None
    assert found.problem.startswith("version 2/catalog/small.md:1: ")


def test_a_missing_last_newline_is_shown() -> None:
    """As `diff` and `git` show it; a form feed ends no line."""
    assert unified("a", "x\ny", "x\ny\n").splitlines()[-3:] == [
        "-y", "\\ No newline at end of file", "+y",
    ]  # fmt: skip
    assert "-a\x0cb\n" in unified("a", "a\x0cb\n", "")
