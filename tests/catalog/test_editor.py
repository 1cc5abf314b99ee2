"""One edit: checked, put in place, kept; refused without a trace; undone."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from llmrouter.catalog.editor import ANY, KEPT, Edit, history, put, read, tag, undoing
from llmrouter.errors import CatalogInvalid, LLMRouterError, NotFound, PreconditionFailed
from tests.catalog.prompts_dir import LARGE, SMALL, written

WIDE, WIDER = SMALL.replace("8000", "9000"), SMALL.replace("8000", "9999")


def on_disk(directory: Path) -> dict[Path, bytes]:
    """Every file below a directory."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def undo(directory: Path, name: str, version: str | None = None) -> None:
    """Go back."""
    put(directory, undoing(directory, Edit(name, None), version))


def test_an_edit_is_in_place_and_what_was_there_is_kept(tmp_path: Path) -> None:
    """Beside the catalog, where it is not loaded; nothing else is left behind."""
    path = written(tmp_path) / "catalog" / "small.md"
    path.chmod(0o640)
    before = set(on_disk(tmp_path))
    assert put(tmp_path, Edit("small", WIDE)).targets["small"].context_window == 9000
    assert read(tmp_path, "small") == WIDE
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    (kept,) = set(on_disk(tmp_path)) - before
    assert kept.parent == tmp_path / ".history" / "small"
    (saved,) = history(tmp_path, "small")
    assert (saved.text, saved.version) == (SMALL, kept.stem)
    assert abs(saved.at - time.time()) < 60


def test_a_target_is_added_and_taken_out_again_by_undoing(tmp_path: Path) -> None:
    """There was no file before, so there is none after; and it comes back the same way."""
    written(tmp_path)
    assert "third" in put(tmp_path, Edit("third", LARGE)).targets
    undo(tmp_path, "third")
    assert read(tmp_path, "third") is None
    undo(tmp_path, "third")
    assert read(tmp_path, "third") == LARGE


def test_a_target_is_taken_out_and_brought_back(tmp_path: Path) -> None:
    """Only where nothing needs it: the default cannot go."""
    put(written(tmp_path), Edit("third", LARGE))
    assert "third" not in put(tmp_path, Edit("third", None)).targets
    undo(tmp_path, "third")
    assert read(tmp_path, "third") == LARGE
    with pytest.raises(CatalogInvalid) as refused:
        put(tmp_path, Edit("small", None))
    assert str(refused.value.problems[0]).startswith(f"{tmp_path}/routing.yaml:1: `default` names")
    with pytest.raises(NotFound):
        put(tmp_path, Edit("nobody", None))


def test_undoing_goes_back_to_any_version_and_can_be_undone(tmp_path: Path) -> None:
    """The newest by default, so that twice is as before; an older one by its name."""
    for text in (WIDE, WIDER):
        put(written(tmp_path) if text == WIDE else tmp_path, Edit("small", text))
    undo(tmp_path, "small")
    assert read(tmp_path, "small") == WIDE
    undo(tmp_path, "small")
    assert read(tmp_path, "small") == WIDER
    oldest = history(tmp_path, "small")[-1]
    undo(tmp_path, "small", oldest.version)
    assert read(tmp_path, "small") == SMALL


def test_there_must_be_something_to_go_back_to(tmp_path: Path) -> None:
    """A version that is not known is answered with those that are."""
    written(tmp_path)
    with pytest.raises(NotFound, match="nothing to undo"):
        undo(tmp_path, "small")
    put(tmp_path, Edit("small", WIDE))
    (saved,) = history(tmp_path, "small")
    for wrong in ("7", "../../router", saved.version + "0"):
        with pytest.raises(NotFound, match=saved.version):
            undo(tmp_path, "small", wrong)


def test_history_is_bounded_and_of_one_target(tmp_path: Path) -> None:
    """The newest versions stay."""
    put(written(tmp_path), Edit("large", LARGE.replace("8000", "7000")))
    for number in range(KEPT + 3):
        put(tmp_path, Edit("small", SMALL.replace("8000", str(9000 + number))))
    kept = history(tmp_path, "small")
    assert len(kept) == KEPT
    assert kept[0].text == SMALL.replace("8000", str(9000 + KEPT + 1))
    assert len(history(tmp_path, "large")) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("small", SMALL.replace("8000", "many")),
        ("small", SMALL + "\ud800"),
        ("small", SMALL.replace("---\nmodel", "---\nenabled: false\nmodel")),
        ("small", ""),
        ("../routing", SMALL),
        ("a/b", SMALL),
        ("auto", SMALL),
        ("small\n", SMALL),
        ("", SMALL),
        ("small", "x" * 3_000_000),
        ("small", None),
        ("../routing", None),
    ],
)
def test_an_edit_that_does_not_fit_changes_nothing(
    tmp_path: Path, name: str, text: str | None
) -> None:
    """A broken text, a needed target switched off or a path for an id leaves the disk as it was."""
    before = on_disk(written(tmp_path))
    with pytest.raises(CatalogInvalid):
        put(tmp_path, Edit(name, text))
    assert on_disk(tmp_path) == before


@pytest.mark.parametrize("name", ["../routing", "", "a/b", "auto"])
def test_no_path_outside_the_catalog_is_read(tmp_path: Path, name: str) -> None:
    """An id that cannot be one has no text and no history."""
    written(tmp_path)
    (tmp_path / "routing.md").write_text("secret")
    assert (read(tmp_path, name), history(tmp_path, name)) == (None, [])


@pytest.mark.parametrize(
    ("name", "seen", "passes"),
    [
        ("small", {tag(SMALL)}, True),
        ("small", {"other", tag(SMALL)}, True),
        ("small", {"other"}, False),
        ("small", {ANY}, True),
        ("small", {"v1"}, True),
        ("small", set(), False),
        ("third", set(), True),
        ("third", {ANY}, False),
        ("third", {tag(SMALL)}, False),
        ("third", {"v1"}, True),
    ],
)
def test_an_edit_is_of_what_its_editor_read(
    tmp_path: Path, name: str, seen: set[str], passes: bool
) -> None:
    """Two editors of one file: the second hears of the first, and nothing is lost."""
    before = on_disk(written(tmp_path))
    edit = Edit(name, WIDE, frozenset(seen))
    if passes:
        put(tmp_path, edit, serving="v1")
        assert read(tmp_path, name) == WIDE
    else:
        with pytest.raises(PreconditionFailed):
            put(tmp_path, edit, serving="v1")
        assert on_disk(tmp_path) == before


def test_tags_tell_texts_apart() -> None:
    """Comments and white space included: an editor has typed them."""
    assert len({tag(text) for text in (SMALL, SMALL + "\n", SMALL.replace("\n", "\r\n"), "")}) == 4


def test_a_disk_that_refuses_is_an_error_with_its_reason(tmp_path: Path) -> None:
    """And the catalog file is whole."""
    written(tmp_path)
    (tmp_path / ".history").write_text("in the way")
    with pytest.raises(LLMRouterError, match="cannot be written") as refused:
        put(tmp_path, Edit("small", WIDE))
    assert refused.value.code == "catalog_not_writable"
    assert read(tmp_path, "small") == SMALL
