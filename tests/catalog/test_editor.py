"""One edit: checked, put in place, kept; refused without a trace; undone."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from llmrouter.catalog import editor, versions
from llmrouter.catalog.editor import (
    ANY,
    Edit,
    read,
    reverting,
    save,
    target_edit,
    target_path,
    undoing,
)
from llmrouter.catalog.versions import Author, history, tag, write_file
from llmrouter.errors import (
    CatalogInvalid,
    Forbidden,
    LLMRouterError,
    NotFound,
    PreconditionFailed,
)
from tests.catalog.prompts_dir import LARGE, SMALL, written

WIDE, WIDER = SMALL.replace("8000", "9000"), SMALL.replace("8000", "9999")


def on_disk(directory: Path) -> dict[Path, bytes]:
    """Every file below a directory."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def undo(directory: Path, name: str, version: str | None = None) -> None:
    """Go back."""
    save(directory, undoing(directory, target_edit(name, None), version))


def test_an_edit_is_in_place_and_what_was_there_is_kept(tmp_path: Path) -> None:
    """Beside the catalog, where it is not loaded; nothing else is left behind."""
    path = written(tmp_path) / "catalog" / "small.md"
    path.chmod(0o640)
    before = set(on_disk(tmp_path))
    assert (
        save(tmp_path, target_edit("small", WIDE)).catalog.targets["small"].context_window == 9000
    )
    assert read(tmp_path, target_path("small")) == WIDE
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert {path.parts[-3] for path in set(on_disk(tmp_path)) - before} == {".history"}
    (earlier,) = history(tmp_path, target_path("small"))
    assert (earlier.text, earlier.version) == (SMALL, "2")
    assert abs(earlier.at - time.time()) < 60


def test_a_target_is_added_and_taken_out_again_by_undoing(tmp_path: Path) -> None:
    """There was no file before, so there is none after; and it comes back the same way."""
    written(tmp_path)
    assert "third" in save(tmp_path, target_edit("third", LARGE)).catalog.targets
    undo(tmp_path, "third")
    assert read(tmp_path, target_path("third")) is None
    undo(tmp_path, "third")
    assert read(tmp_path, target_path("third")) == LARGE


def test_a_target_is_taken_out_and_brought_back(tmp_path: Path) -> None:
    """Only where nothing needs it: the default cannot go."""
    save(written(tmp_path), target_edit("third", LARGE))
    assert "third" not in save(tmp_path, target_edit("third", None)).catalog.targets
    undo(tmp_path, "third")
    assert read(tmp_path, target_path("third")) == LARGE
    with pytest.raises(CatalogInvalid) as refused:
        save(tmp_path, target_edit("small", None))
    assert str(refused.value.problems[0]).startswith(f"{tmp_path}/routing.yaml:1: `default` names")
    with pytest.raises(NotFound):
        save(tmp_path, target_edit("nobody", None))


def test_undoing_goes_back_to_any_version_and_can_be_undone(tmp_path: Path) -> None:
    """The newest by default, so that twice is as before; an older one by its name."""
    for text in (WIDE, WIDER):
        save(written(tmp_path) if text == WIDE else tmp_path, target_edit("small", text))
    undo(tmp_path, "small")
    assert read(tmp_path, target_path("small")) == WIDE
    undo(tmp_path, "small")
    assert read(tmp_path, target_path("small")) == WIDER
    oldest = history(tmp_path, target_path("small"))[-1]
    undo(tmp_path, "small", oldest.version)
    assert read(tmp_path, target_path("small")) == SMALL


def test_there_must_be_something_to_go_back_to(tmp_path: Path) -> None:
    """A version that is not known is answered with those that are."""
    written(tmp_path)
    with pytest.raises(NotFound, match="nothing to undo"):
        undo(tmp_path, "small")
    save(tmp_path, target_edit("small", WIDE))
    (earlier,) = history(tmp_path, target_path("small"))
    for wrong in ("7", "../../router", earlier.version + "0"):
        with pytest.raises(NotFound, match=earlier.version):
            undo(tmp_path, "small", wrong)


def test_history_is_of_one_target(tmp_path: Path) -> None:
    """What others held is not in it."""
    save(written(tmp_path), target_edit("large", LARGE.replace("8000", "7000")))
    for number in range(3):
        save(tmp_path, target_edit("small", SMALL.replace("8000", str(9000 + number))))
    earlier = history(tmp_path, target_path("small"))
    assert [one.text for one in earlier] == [WIDE.replace("9000", "9001"), WIDE, SMALL]
    assert len(history(tmp_path, target_path("large"))) == 1


def test_files_are_edited_together_or_not_at_all(tmp_path: Path) -> None:
    """A target goes with the rule that names it; one without the other is refused."""
    written(tmp_path)
    routing = read(tmp_path, "routing.yaml")
    assert routing is not None
    before = on_disk(tmp_path)
    with pytest.raises(CatalogInvalid):
        save(tmp_path, Edit({"routing.yaml": routing.replace("large", "huge")}))
    assert on_disk(tmp_path) == before
    saved = save(
        tmp_path,
        Edit(
            {
                "catalog/large.md": None,
                "catalog/huge.md": LARGE,
                "routing.yaml": routing.replace("large", "huge"),
            }
        ),
    )
    assert sorted(saved.catalog.targets) == ["huge", "small"]
    assert saved.version == "2"


def test_a_disk_that_fails_half_way_leaves_every_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of one edit stand or fall together, and so does their version."""
    before = on_disk(written(tmp_path))
    writes = []

    def failing(path: Path, data: bytes, mode: int = 0o644) -> None:
        writes.append(path)
        if len(writes) == 2:
            raise OSError(28, "No space left on device")
        write_file(path, data, mode)

    monkeypatch.setattr(editor, "write_file", failing)
    edits = {"catalog/small.md": WIDE, "catalog/large.md": LARGE.replace("8000", "7000")}
    with pytest.raises(LLMRouterError, match="No space left"):
        save(tmp_path, Edit(edits))
    after = {path: text for path, text in on_disk(tmp_path).items() if ".history" not in path.parts}
    assert after == before


def test_the_whole_directory_goes_back_to_a_version(tmp_path: Path) -> None:
    """Edited, added and removed files, and the way back is a version too."""
    save(written(tmp_path), Edit({"catalog/third.md": LARGE, "catalog/small.md": WIDE}))
    save(tmp_path, reverting(tmp_path, "1", "alice"))
    assert read(tmp_path, "catalog/third.md") is None
    assert read(tmp_path, "catalog/small.md") == SMALL
    last = versions.listed(tmp_path)[-1]
    assert (last.id, last.author) == ("3", Author("alice", "revert", "version 1"))
    with pytest.raises(NotFound, match="there are 1 to 3"):
        reverting(tmp_path, "4", None)


def test_the_prompts_inside_the_package_are_not_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer says what to do instead, and nothing is written."""
    before = on_disk(written(tmp_path))
    monkeypatch.setattr(editor, "PACKAGED", tmp_path)
    with pytest.raises(Forbidden, match="llmrouter init"):
        save(tmp_path, target_edit("small", WIDE))
    assert on_disk(tmp_path) == before


def test_what_was_edited_by_hand_meanwhile_is_a_version_of_its_own(tmp_path: Path) -> None:
    """Unless it could not serve: a broken file is nothing to go back to."""
    save(written(tmp_path), target_edit("small", WIDE))
    (tmp_path / "catalog" / "small.md").write_text(WIDER)
    save(tmp_path, target_edit("large", LARGE.replace("8000", "7000")))
    assert [one.author.how for one in versions.listed(tmp_path)] == ["file", "http", "file", "http"]
    (tmp_path / "catalog" / "small.md").write_text("broken")
    save(tmp_path, target_edit("small", SMALL))
    assert versions.newest(tmp_path) == "5"


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
        save(tmp_path, target_edit(name, text))
    assert on_disk(tmp_path) == before


@pytest.mark.parametrize("name", ["../routing", "", "a/b", "auto"])
def test_no_path_outside_the_catalog_is_read(tmp_path: Path, name: str) -> None:
    """An id that cannot be one has no text and no history."""
    written(tmp_path)
    (tmp_path / "routing.md").write_text("secret")
    path = f"catalog/{name}.md"
    assert (read(tmp_path, path), history(tmp_path, path)) == (None, [])


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
    edit = target_edit(name, WIDE, frozenset(seen))
    if passes:
        save(tmp_path, edit, serving="v1")
        assert read(tmp_path, target_path(name)) == WIDE
    else:
        with pytest.raises(PreconditionFailed):
            save(tmp_path, edit, serving="v1")
        assert on_disk(tmp_path) == before


def test_tags_tell_texts_apart() -> None:
    """Comments and white space included: an editor has typed them."""
    assert len({tag(text) for text in (SMALL, SMALL + "\n", SMALL.replace("\n", "\r\n"), "")}) == 4


def test_a_disk_that_refuses_is_an_error_with_its_reason(tmp_path: Path) -> None:
    """And the catalog file is whole."""
    written(tmp_path)
    (tmp_path / ".history").write_text("in the way")
    with pytest.raises(LLMRouterError, match="cannot be written") as refused:
        save(tmp_path, target_edit("small", WIDE))
    assert refused.value.code == "catalog_not_writable"
    assert read(tmp_path, target_path("small")) == SMALL
