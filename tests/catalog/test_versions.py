"""Versions of a prompts directory: what is kept, what is found again, what gives way."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrouter.catalog import versions
from llmrouter.catalog.versions import Author, find, history, listed, path_problem, record, texts_of
from llmrouter.errors import NotFound
from tests.catalog.prompts_dir import LARGE, SMALL, files, written

ALICE = Author("alice", "http")


def test_what_is_on_disk_is_the_one_version_before_the_first_edit(tmp_path: Path) -> None:
    """Nothing is written for it, and its texts can be read."""
    written(tmp_path)
    (only,) = listed(tmp_path)
    assert (only.id, only.author) == ("1", Author(None, "file", None))
    assert texts_of(tmp_path, only) == files()
    assert not (tmp_path / ".history").exists()


def test_a_version_says_what_changed_who_made_it_and_how(tmp_path: Path) -> None:
    """Against the version before it."""
    written(tmp_path)
    edited = {**files(small=SMALL + "More.\n"), "catalog/third.md": LARGE}
    del edited["router.md"]
    record(tmp_path, files(), Author())
    assert record(tmp_path, edited, ALICE) == "2"
    first, second = listed(tmp_path)
    shown = second.public(first)
    assert shown["at"] == second.at
    assert {name: shown[name] for name in shown if name != "at"} == {
        "version": "2",
        "by": "alice",
        "how": "http",
        "note": None,
        "added": ["catalog/third.md"],
        "changed": ["catalog/small.md"],
        "removed": ["router.md"],
    }
    assert texts_of(tmp_path, second) == edited
    assert texts_of(tmp_path, first) == files()


def test_the_same_state_is_one_version(tmp_path: Path) -> None:
    """Every worker that sees an edit records it."""
    written(tmp_path)
    assert {record(tmp_path, files(), Author()) for _ in range(3)} == {"1"}


def test_the_oldest_versions_give_way_with_their_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a later version still holds stays."""
    monkeypatch.setattr(versions, "KEPT", 3)
    written(tmp_path)
    for number in range(6):
        record(tmp_path, files(small=f"{SMALL}{number}\n"), ALICE)
    assert [one.id for one in listed(tmp_path)] == ["4", "5", "6"]
    with pytest.raises(NotFound, match="there are 4 to 6"):
        find(tmp_path, "1")
    assert len(list((tmp_path / ".history" / "texts").iterdir())) == 3 + len(files()) - 1
    assert [one.text for one in history(tmp_path, "catalog/small.md")] == [
        f"{SMALL}4\n", f"{SMALL}3\n",
    ]  # fmt: skip


def test_a_damaged_version_is_passed_over(tmp_path: Path) -> None:
    """And a text that is gone is said to be gone."""
    record(written(tmp_path), files(), Author())
    record(tmp_path, files(small=SMALL + "x"), ALICE)
    record(tmp_path, files(small=SMALL + "y"), ALICE)
    (tmp_path / ".history" / "versions" / "2.json").write_text("{}")
    assert [one.id for one in listed(tmp_path)] == ["1", "3"]
    last = find(tmp_path, None)
    (tmp_path / ".history" / "texts" / last.files["catalog/small.md"]).unlink()
    with pytest.raises(NotFound, match=r"catalog/small\.md in version 3 is gone"):
        texts_of(tmp_path, last)


@pytest.mark.parametrize("path", ["routing.yaml", "router.md", "verifier.md", "catalog/a-1.md"])
def test_a_file_of_a_catalog_has_one_of_its_paths(path: str) -> None:
    """The folder's own files and one for each target."""
    assert path_problem(path) is None


@pytest.mark.parametrize(
    "path", ["", "other.md", "catalog/a.txt", "catalog/../x.md", "catalog/a/b.md", "/router.md"]
)
def test_no_other_path_is_one(path: str) -> None:
    """Above all none that leads elsewhere."""
    assert path_problem(path)
