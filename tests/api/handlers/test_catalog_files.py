"""Texts by path in a body: what is taken and what is refused."""

from __future__ import annotations

import pytest

from llmrouter.api.handlers.catalog_files import MOST_FILES, edited_texts, whole_texts
from llmrouter.errors import BadRequest


def test_null_takes_a_file_away_where_files_are_edited() -> None:
    """A whole catalog has none."""
    files = {"routing.yaml": "default: a\n", "catalog/a.md": None}
    assert edited_texts(files) == files
    with pytest.raises(BadRequest, match=r"catalog/a\.md"):
        whole_texts(files)


@pytest.mark.parametrize(
    "files",
    [None, [], {}, {"x": "y"}, {"router.md": 1}, {f"catalog/t{n}.md": "" for n in range(601)}],
)
def test_what_is_no_set_of_files_is_refused(files: object) -> None:
    """Its shape, its number, its paths and its texts."""
    assert MOST_FILES == 600
    with pytest.raises(BadRequest):
        edited_texts(files)
