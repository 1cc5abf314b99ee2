"""One `/metrics` page for several workers.

A scrape reaches one worker. Each worker therefore writes its own page to a folder that the parent
made, every two seconds and when it ends, and the worker that is scraped merges all pages. Counters
and histograms add up, including those of workers that have ended, so that no counter falls. Gauges
come from live workers alone: concurrency adds up, of states the maximum counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from llmrouter.util.tasks import repeatedly

ADDED_GAUGES: Final = frozenset({"llmrouter_requests_in_flight"})
_EVERY_S: Final = 2.0


@dataclass(slots=True)
class _Family:
    kind: str = "untyped"
    help: str = ""
    series: dict[str, float] = field(default_factory=dict)


class WorkerPages:
    """This worker's page and its neighbours'. `own` renders the first."""

    def __init__(self, folder: Path, own: Callable[[], bytes]) -> None:
        self._folder = folder
        self._own = own
        self._pid = os.getpid()

    async def run(self) -> None:
        """Leave the page now and then until cancelled, then once more."""
        await repeatedly(self.write, _EVERY_S)

    async def write(self) -> None:
        """Leave the page in the folder; a folder that is gone is no longer of use to anyone."""
        page = self._own()
        await asyncio.to_thread(self._write, page)

    def page(self) -> bytes:
        """Every worker's page as one."""
        pages = [(True, self._own().decode())]
        for path in sorted(self._folder.glob("*.prom")):
            if path.stem != str(self._pid):
                with contextlib.suppress(OSError):
                    pages.append((_lives(path.stem), path.read_text("utf-8")))
        return merged(pages).encode()

    def _write(self, page: bytes) -> None:
        path = self._folder / f"{self._pid}.prom"
        with contextlib.suppress(OSError):
            path.with_suffix(".new").write_bytes(page)
            path.with_suffix(".new").replace(path)


def merged(pages: Iterable[tuple[bool, str]]) -> str:
    """Prometheus text pages as one; each comes with whether its worker still lives."""
    families: dict[str, _Family] = {}
    for lives, page in pages:
        current = _Family()
        for line in page.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ", 3)
                current = families.setdefault(name, _Family())
                current.kind = kind
            elif line.startswith("# HELP "):
                _, _, name, text = line.split(" ", 3)
                families.setdefault(name, _Family()).help = text
            elif line and not line.startswith("#"):
                _merge(current, line, lives)
    return "\n".join([*_lines(families), ""])


def _merge(family: _Family, line: str, lives: bool) -> None:
    series, _, text = line.rpartition(" ")
    value = float(text)
    if family.kind != "gauge" or (lives and series.partition("{")[0] in ADDED_GAUGES):
        family.series[series] = family.series.get(series, 0.0) + value
    elif lives:
        family.series[series] = max(family.series.get(series, value), value)


def _lines(families: dict[str, _Family]) -> Iterable[str]:
    for name, family in families.items():
        if family.help:
            yield f"# HELP {name} {family.help}"
        yield f"# TYPE {name} {family.kind}"
        for series, value in family.series.items():
            counts = family.kind == "histogram" and "_sum" not in series.partition("{")[0]
            yield f"{series} {int(value) if counts else value!r}"


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (OSError, ValueError):
        return False
    return True
