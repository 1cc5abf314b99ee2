"""`llmrouter catalog undo`: what comes back, and what cannot."""

from __future__ import annotations

import io
from pathlib import Path

from llmrouter.catalog.editor import read, save, target_edit, target_path
from llmrouter.catalog.undo_command import run_undo
from llmrouter.catalog.versions import history
from tests.catalog.prompts_dir import LARGE, SMALL, written

WIDE = SMALL.replace("8000", "9000")


def undone(directory: Path, name: str, version: str | None = None) -> tuple[int, str]:
    """The exit code and what was printed."""
    out = io.StringIO()
    return run_undo(directory, name, version, out), out.getvalue()


def test_the_last_edit_is_taken_back_and_shown(tmp_path: Path) -> None:
    """And taking it back is an edit of its own."""
    save(written(tmp_path), target_edit("small", WIDE))
    code, said = undone(tmp_path, "small")
    assert (code, read(tmp_path, target_path("small"))) == (0, SMALL)
    assert said.splitlines() == [
        "target small: context_window 9000 → 8000",
        f"{tmp_path}/catalog/small.md is as it was; undo again to take this back",
    ]
    assert undone(tmp_path, "small", history(tmp_path, target_path("small"))[0].version)[0] == 0
    assert read(tmp_path, target_path("small")) == WIDE


def test_an_added_target_goes(tmp_path: Path) -> None:
    """It was not there before."""
    save(written(tmp_path), target_edit("third", LARGE))
    code, said = undone(tmp_path, "third")
    assert (code, read(tmp_path, target_path("third"))) == (0, None)
    assert said.startswith("target third removed\n")
    assert "third.md is gone" in said


def test_a_broken_file_is_undone_too(tmp_path: Path) -> None:
    """That is when it is needed most: somebody broke by hand what an edit had put there."""
    save(written(tmp_path), target_edit("small", WIDE))
    (tmp_path / "catalog" / "small.md").write_text("broken")
    assert undone(tmp_path, "small")[0] == 0
    assert read(tmp_path, target_path("small")) == SMALL


def test_nothing_to_undo_is_1(tmp_path: Path) -> None:
    """With the reason, and without a change."""
    written(tmp_path)
    code, said = undone(tmp_path, "small")
    assert (code, said) == (1, "no edit of 'small' is known, so there is nothing to undo\n")


def test_what_does_not_fit_any_more_is_1(tmp_path: Path) -> None:
    """A target that has become the default cannot go back to not being there."""
    save(written(tmp_path), target_edit("third", LARGE))
    routing = tmp_path / "routing.yaml"
    routing.write_text(routing.read_text().replace("default: small", "default: third"))
    code, said = undone(tmp_path, "third")
    assert code == 1
    assert said.startswith(f"{tmp_path}/routing.yaml:1: ")
    assert read(tmp_path, target_path("third")) == LARGE
