"""Edits of a prompts directory: checked whole, put in place together, recorded as a version.

The service and `llmrouter catalog undo` edit the same way. An edit is refused with which the
catalog could not serve, whose path is no file of a catalog, or that is of something other than
what its editor has read. Reading, checking and replacing are one step for every process on the
directory: a lock on it is held meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from llmrouter.catalog import versions
from llmrouter.catalog.edit_policy import EditPolicy
from llmrouter.catalog.loader import TARGETS, Overrides, catalog_paths, load
from llmrouter.catalog.target_file import id_problem
from llmrouter.catalog.versions import Author, path_problem, tag, write_file
from llmrouter.domain.catalog import Catalog
from llmrouter.errors import (
    CatalogInvalid,
    Forbidden,
    LLMRouterError,
    NotFound,
    PreconditionFailed,
    Problem,
)
from llmrouter.shipped import PACKAGED

ANY: Final = "*"
BY_HTTP: Final = Author(how="http")
GOING_BACK: Final = frozenset({"undo", "revert"})
"""Edits whose texts were on disk before, so what they use was the operator's or allowed."""


@dataclass(frozen=True, slots=True)
class Edit:
    """New texts by path; None takes a file away. With `whole`, all other files go too.

    `seen` is what the editor knows of a path: tags of its file (`versions.tag`) or versions of the
    catalog, ANY for a file that is there, and an empty set for one that is not. A path without an
    entry may hold anything.
    """

    files: Mapping[str, str | None]
    author: Author = BY_HTTP
    seen: Mapping[str, frozenset[str]] = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """The catalog after an edit, and the version it was recorded as."""

    catalog: Catalog
    version: str


def target_path(name: str) -> str:
    """Where a target's file is, by its id. Raises CatalogInvalid for what is no id."""
    path = f"{TARGETS}/{name}.md"
    if (wrong := id_problem(name)) is not None:
        raise CatalogInvalid((Problem(path, 1, wrong),))
    return path


def target_edit(
    name: str,
    text: str | None,
    seen: frozenset[str] | None = None,
    author: Author = BY_HTTP,
) -> Edit:
    """The edit of one target's file. Raises CatalogInvalid for what is no id."""
    path = target_path(name)
    return Edit({path: text}, author, {} if seen is None else {path: seen})


def read(directory: Path, path: str) -> str | None:
    """The text of a catalog's file as it is on disk, or None where there is none."""
    return None if path_problem(path) else _read(directory / path)


def save(
    directory: Path,
    edit: Edit,
    serving: str | None = None,
    overrides: Overrides | None = None,
    allowed: EditPolicy | None = None,
) -> Saved:
    """Check the whole catalog with the edit in it, put it in place, and record it.

    `serving` is the catalog's version that an editor may have `seen`. `allowed` bounds what new
    texts may use; what was on disk once may come back. Nothing changes when it
    raises: CatalogInvalid where the edit does not fit, PreconditionFailed where a file is another
    by now, NotFound for a file that should go and is not there, Forbidden for the prompts inside an
    installed package, LLMRouterError when the disk refuses.
    """
    if directory == PACKAGED:
        raise Forbidden(
            "the prompts inside the installed package are not edited: run `llmrouter init`, "
            "then start the service again beside the prompts/ that it wrote",
            code="catalog_read_only",
        )
    encoded = {path: _encoded(directory, path, text) for path, text in edit.files.items()}
    try:
        with versions.locked(directory):
            before = versions.read_texts(directory)
            files = dict(edit.files)
            if edit.whole:
                files = {**dict.fromkeys(catalog_paths(directory)), **files}
            for path in edit.files:
                _check_seen(path, edit.seen.get(path), _read(directory / path), serving)
            for path, text in edit.files.items():
                if text is None and not (directory / path).exists():
                    raise NotFound(f"there is no {path}", code="target_not_found")
            new = None if edit.author.how in GOING_BACK else allowed
            catalog = load(directory, overrides, files, new)
            _record_unrecorded(directory, before, overrides)
            held = {path: _bytes(directory / path) for path in files}
            try:
                _replace(directory, {path: encoded.get(path) for path in files}, held)
                after = {
                    path: text for path, text in {**before, **files}.items() if text is not None
                }
                return Saved(catalog, versions.record(directory, after, edit.author))
            except OSError:
                with suppress(OSError):
                    _replace(directory, held)
                raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = f"the files in {directory.name}/ cannot be written: {reason}"
        raise LLMRouterError(message, code="catalog_not_writable") from error


def undoing(directory: Path, edit: Edit, version: str | None = None) -> Edit:
    """The edit that brings back what its one path held before an edit, by default the last one.

    It is an edit like any other, so it can be undone. The text of `edit` says nothing. Raises
    NotFound.
    """
    (path,) = edit.files
    name = path.removeprefix(f"{TARGETS}/").removesuffix(".md")
    earlier = versions.history(directory, path)
    for one in earlier:
        if version is None or one.version == version:
            author = replace(
                edit.author, how="undo", note=f"{path} as before version {one.version}"
            )
            return replace(edit, files={path: one.text}, author=author)
    if not earlier:
        raise NotFound(
            f"no edit of {name!r} is known, so there is nothing to undo", code="no_history"
        )
    known = ", ".join(one.version for one in earlier)
    raise NotFound(
        f"{name!r} has no version {version!r}; there are: {known}",
        param="version",
        code="version_not_found",
    )


def reverting(directory: Path, version: str, by: str | None) -> Edit:
    """The edit that makes the whole directory what it was in a version. Raises NotFound."""
    found = versions.find(directory, version)
    texts = versions.texts_of(directory, found)
    return Edit(texts, Author(by, "revert", f"version {found.id}"), whole=True)


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _encoded(directory: Path, path: str, text: str | None) -> bytes | None:
    """The bytes of a file's new text. Raises CatalogInvalid."""
    if (wrong := path_problem(path)) is not None:
        raise CatalogInvalid((Problem(str(directory / path), 1, wrong),))
    try:
        return None if text is None else text.encode()
    except UnicodeEncodeError as error:
        line = error.object.count("\n", 0, error.start) + 1
        problem = Problem(str(directory / path), line, "not text: it has lone surrogates")
        raise CatalogInvalid((problem,)) from None


def _check_seen(
    path: str, seen: frozenset[str] | None, current: str | None, serving: str | None
) -> None:
    if seen is None:
        return
    holds = {serving} if current is None else {ANY, tag(current), serving}
    if seen & holds or (not seen and current is None):
        return
    if not seen:
        message = f"{path} is there already"
    elif current is None:
        message = f"there is no {path} any more"
    else:
        message = (
            f"{path} was edited since you read it; it is at {tag(current)!r} "
            "now: read it again, then edit"
        )
    raise PreconditionFailed(message)


def _record_unrecorded(
    directory: Path, texts: Mapping[str, str], overrides: Overrides | None
) -> None:
    """Keep what is there before an edit, where it could serve and no version has it yet."""
    last = versions.listed(directory)[-1]
    if versions.is_recorded(directory) and last.files == {p: tag(t) for p, t in texts.items()}:
        return
    with suppress(CatalogInvalid):
        load(directory, overrides, texts)
        versions.record(directory, texts, Author())


def _replace(
    directory: Path,
    files: Mapping[str, bytes | None],
    held: Mapping[str, bytes | None] | None = None,
) -> None:
    """Put the files in place that differ from what is `held`. Raises OSError."""
    paths = [path for path in files if held is None or files[path] != held[path]]
    for path in paths:
        _put(directory / path, files[path])
    for folder in {(directory / path).parent for path in paths}:
        _sync(folder)


def _put(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
    else:
        write_file(path, data, path.stat().st_mode & 0o777 if path.exists() else 0o644)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _sync(folder: Path) -> None:
    held = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)
