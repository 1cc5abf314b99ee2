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
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

from watchfiles import awatch

from llmrouter.catalog import editor
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
from llmrouter.domain.catalog import Catalog
from llmrouter.errors import CatalogInvalid, Forbidden, NotFound, Problem
from llmrouter.shipped import PACKAGED

log = logging.getLogger(__name__)

_LOOK_MS: Final = 500
_DEBOUNCE_MS: Final = 200
_MOST_READINGS: Final = 5  # of a directory that changes while it is being read

Look = tuple[tuple[str, int, int, int], ...]
"""Path, inode, size and modification time (ns) of every file that makes up a catalog."""


class CatalogHolder:
    """Holds the current catalog of `directory`.

    Raises CatalogInvalid at once when there is none to start with. `problems` says why the newest
    files are not the ones that serve, by their paths inside the directory; `loaded_at` is when the
    current catalog came in (seconds since the epoch); each of `on_change` is called with every new
    catalog, in the event loop. With `environ`, targets whose key is not set in it are unusable.
    """

    def __init__(
        self,
        directory: Path,
        overrides: Overrides | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self._overrides = overrides
        self._seen = look(directory)
        self._environ = environ
        self._current = self.usable(load(directory, overrides))
        self._turn = asyncio.Lock()
        self.problems: tuple[Problem, ...] = ()
        self.loaded_at = time.time()
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
            for _ in range(_MOST_READINGS):
                self._seen = await asyncio.to_thread(look, self._directory)
                try:
                    fresh = await asyncio.to_thread(load, self._directory, self._overrides)
                    found: tuple[Problem, ...] = ()
                except CatalogInvalid as invalid:
                    fresh, found = self._current, invalid.problems
                if await asyncio.to_thread(look, self._directory) == self._seen:
                    break
            self._take(fresh, found)
        return not found

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

    async def read(self, name: str) -> str:
        """The text of catalog/<name>.md as it is on disk. Raises NotFound."""
        text = await asyncio.to_thread(editor.read, self._directory, name)
        if text is None:
            raise NotFound(f"no target {name!r} in the catalog", code="target_not_found")
        return text

    async def write(self, wanted: Edit) -> Catalog:
        """Make an edit, and return the catalog that then serves. Raises as `edit.put`."""
        if self._directory == PACKAGED:
            raise Forbidden(
                "the prompts inside the installed package are not edited: run `llmrouter init`, "
                "then start the service again beside the prompts/ that it wrote",
                code="catalog_read_only",
            )
        async with self._turn:
            put = (self._directory, wanted, self._current.version, self._overrides)
            self._take(await asyncio.to_thread(editor.put, *put), ())
        return self._current

    async def check(self, edits: Edits) -> tuple[Sequence[Problem], Sequence[Problem]]:
        """The problems and the warnings of edited files over those on disk."""
        try:
            found = await asyncio.to_thread(load_all, self._directory, self._overrides, edits)
            problems: Sequence[Problem] = ()
            warnings: Sequence[Problem] = found.warnings
        except CatalogInvalid as invalid:
            problems, warnings = invalid.problems, ()
        inside = self._directory
        return [p.inside(inside) for p in problems], [p.inside(inside) for p in warnings]

    async def history(self, name: str) -> list[Saved]:
        """What the file of a target held before each of its last edits, newest first."""
        return await asyncio.to_thread(editor.history, self._directory, name)

    async def revert(self, wanted: Edit, version: str | None = None) -> Catalog:
        """Go back to an earlier version, by default the newest. Raises as `undoing` and `put`."""
        undoing = await asyncio.to_thread(editor.undoing, self._directory, wanted, version)
        return await self.write(undoing)

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
        self._current, self.loaded_at = fresh, time.time()
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
