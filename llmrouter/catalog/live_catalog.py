"""The catalog that serves, and its replacement while the service runs.

A change on disk is read whole, in a thread. A valid catalog takes the place of the old one in a
single assignment; a broken one changes nothing: the last good catalog goes on serving and the
problems are kept to be shown. File events only wake the watch up; what counts is whether the files
look different, so a lost event, a directory swapped for another one or a file system without events
costs half a second and no edit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Final

from watchfiles import awatch

from llmrouter.catalog import editor, versions
from llmrouter.catalog.edit_policy import EditPolicy
from llmrouter.catalog.editor import Edit, Saved
from llmrouter.catalog.loader import (
    ROUTER,
    ROUTING,
    TARGETS,
    VERIFIER,
    Edits,
    Overrides,
    load,
    load_all,
    with_keys,
)
from llmrouter.catalog.version_diff import VersionDiff, diff
from llmrouter.catalog.versions import Author, EarlierText, Version
from llmrouter.domain.catalog import Catalog
from llmrouter.errors import CatalogInvalid, NotFound, Problem

log = logging.getLogger(__name__)

_LOOK_MS: Final = 500
_DEBOUNCE_MS: Final = 200
_MOST_READINGS: Final = 5  # of a directory that changes while it is being read

Look = tuple[tuple[str, int, int, int], ...]
"""Path, inode, size and modification time (ns) of every file that makes up a catalog."""


class CatalogHolder:
    """Holds the current catalog of `directory`.

    Raises CatalogInvalid at once when there is none to start with. `problems` says why the newest
    files are not the ones that serve, by their paths inside the directory; each of `on_change` is
    called with every new catalog, in the event loop. With `environ`, targets whose key is not set
    in it are unusable. `allowed` bounds what edits (`save`, `check`) may use; files edited on disk
    are not held to it.
    """

    def __init__(
        self,
        directory: Path,
        overrides: Overrides | None = None,
        environ: Mapping[str, str] | None = None,
        allowed: EditPolicy | None = None,
    ) -> None:
        self._directory = directory
        self._allowed = allowed
        self._overrides = overrides
        self._seen = look(directory)
        self._environ = environ
        self._texts: Mapping[str, str] = versions.read_texts(directory)
        self._current = self.usable(load(directory, overrides, self._texts))
        if versions.is_recorded(directory):
            self._record(self._texts)
        self._turn = asyncio.Lock()
        self.problems: tuple[Problem, ...] = ()
        self.on_change: list[Callable[[Catalog], None]] = []

    @property
    def current(self) -> Catalog:
        """The catalog that serves now."""
        return self._current

    async def reload(self) -> bool:
        """Read the directory again. Whether what is in it now serves. Never raises for its content.

        A directory that changes while it is read is read again, so that no half of an edit serves.
        """
        async with self._turn:
            fresh, found = await asyncio.to_thread(self._read)
            self._take(fresh or self._current, found)
        return not found

    def _read(self) -> tuple[Catalog | None, tuple[Problem, ...]]:
        """The catalog on disk, recorded as a version, or its problems."""
        with versions.locked(self._directory):
            for _ in range(_MOST_READINGS):
                self._seen = look(self._directory)
                texts = versions.read_texts(self._directory)
                fresh: Catalog | None = None
                found: tuple[Problem, ...] = ()
                try:
                    fresh = load(self._directory, self._overrides, texts)
                except CatalogInvalid as invalid:
                    found = invalid.problems
                if look(self._directory) == self._seen:
                    break
            if fresh is not None:
                self._record(texts)
        return fresh, found

    def _record(self, texts: Mapping[str, str]) -> None:
        """Keep valid files as a version; before the first one, what served until now as well."""
        try:
            if not versions.is_recorded(self._directory):
                if texts == self._texts:
                    return
                versions.record(self._directory, self._texts, Author())
            versions.record(self._directory, texts, Author())
        except OSError as error:
            log.warning("no version of %s is recorded: %s", self._directory, error)
        self._texts = texts

    async def watch(self) -> None:
        """Reload after every change, until cancelled. Survives the directory's absence."""
        while True:
            try:
                events = awatch(
                    self._directory,
                    watch_filter=None,
                    debounce=_DEBOUNCE_MS,
                    step=50,
                    rust_timeout=_LOOK_MS,
                    yield_on_timeout=True,
                )
                async with aclosing(events):
                    async for _ in events:
                        await self._reload_if_changed()
            except OSError as error:
                log.debug("no file events from %s: %s", self._directory, error)
            await asyncio.sleep(_LOOK_MS / 1000)
            await self._reload_if_changed()

    async def read(self, path: str) -> str:
        """The text of a catalog's file as it is on disk. Raises NotFound."""
        text = await asyncio.to_thread(editor.read, self._directory, path)
        if text is None:
            raise NotFound(f"there is no {path[:100]} in the catalog", code="target_not_found")
        return text

    async def files(self) -> tuple[str, Mapping[str, str]]:
        """The newest version's id, and every text as it is on disk."""

        def found() -> tuple[str, Mapping[str, str]]:
            return versions.newest(self._directory), versions.read_texts(self._directory)

        return await asyncio.to_thread(found)

    async def save(self, edit: Edit) -> Saved:
        """Make an edit; the catalog that is returned serves. Raises as `editor.save`."""
        async with self._turn:
            serving = self._current.version
            given = (self._directory, edit, serving, self._overrides, self._allowed)
            saved = await asyncio.to_thread(editor.save, *given)
            self._take(saved.catalog, ())
        return Saved(self._current, saved.version)

    async def check(self, edits: Edits) -> tuple[Sequence[Problem], Sequence[Problem]]:
        """The problems and the warnings of edited files over those on disk."""
        try:
            reading = partial(load_all, allowed=self._allowed)
            found = await asyncio.to_thread(reading, self._directory, self._overrides, edits)
            problems: Sequence[Problem] = ()
            warnings: Sequence[Problem] = found.warnings
        except CatalogInvalid as invalid:
            problems, warnings = invalid.problems, ()
        inside = self._directory
        return [p.inside(inside) for p in problems], [p.inside(inside) for p in warnings]

    async def edited(self, edits: Edits) -> Catalog:
        """The catalog that edits would make, ready to decide with. Raises CatalogInvalid."""
        reading = partial(load_all, allowed=self._allowed)
        found = await asyncio.to_thread(reading, self._directory, self._overrides, edits)
        return self.usable(found.catalog)

    async def history(self, path: str) -> list[EarlierText]:
        """What a file held before each of its recorded edits, newest first."""
        return await asyncio.to_thread(versions.history, self._directory, path)

    async def undo(self, edit: Edit, version: str | None = None) -> Saved:
        """Bring back what the edit's one path held before. Raises as `undoing` and `save`."""
        return await self.save(
            await asyncio.to_thread(editor.undoing, self._directory, edit, version)
        )

    async def versions(self) -> list[Version]:
        """Every version of the directory, oldest first."""
        return await asyncio.to_thread(versions.listed, self._directory)

    async def texts(self, version: str) -> Mapping[str, str]:
        """The texts of a version by path. Raises NotFound."""

        def found() -> Mapping[str, str]:
            return versions.texts_of(self._directory, versions.find(self._directory, version))

        return await asyncio.to_thread(found)

    async def diff(self, older: str, newer: str | None) -> VersionDiff:
        """What differs between two versions; None is the newest. Raises NotFound."""
        return await asyncio.to_thread(diff, self._directory, older, newer)

    async def revert(self, version: str, by: str | None) -> Saved:
        """Make the whole directory what it was in a version. Raises NotFound and as `save`."""
        edit = await asyncio.to_thread(editor.reverting, self._directory, version, by)
        return await self.save(edit)

    def usable(self, catalog: Catalog) -> Catalog:
        """The catalog, with targets marked that this process has no key for."""
        return catalog if self._environ is None else with_keys(catalog, self._environ)

    async def _reload_if_changed(self) -> None:
        if await asyncio.to_thread(look, self._directory) != self._seen:
            await self.reload()

    def _take(self, fresh: Catalog, problems: tuple[Problem, ...]) -> None:
        if problems:
            shown = tuple(problem.inside(self._directory) for problem in problems)
            if shown != self.problems:
                told = "\n".join(map(str, problems))
                log.error("the edited catalog is refused, the last good one serves:\n%s", told)
            self.problems = shown
            return
        self.problems = ()
        fresh = self.usable(fresh)
        if fresh == self._current:
            return
        self._current = fresh
        log.info("catalog %s serves, %d targets", fresh.revision, len(fresh.enabled))
        for tell in tuple(self.on_change):
            try:
                tell(fresh)
            except Exception:
                log.exception("a listener to catalog changes failed")


def look(directory: Path) -> Look:
    """How the files of a catalog look from outside. Empty for a directory that is not there."""
    paths = [directory / name for name in (ROUTER, ROUTING, VERIFIER)]
    with suppress(OSError):  # the load says what is wrong with it
        paths += sorted((directory / TARGETS).iterdir())
    seen: list[tuple[str, int, int, int]] = []
    for path in paths:
        if path.name.startswith("."):
            continue
        try:
            found = path.stat()
        except OSError:
            continue
        seen.append((str(path), found.st_ino, found.st_size, found.st_mtime_ns))
    return tuple(seen)
