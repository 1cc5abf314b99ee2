"""`python -m llmrouter.preview`: computes what an edit would change, in its own process.

Reading a catalog and deciding a thousand requests twice takes about a second of CPU, which would
block the service's event loop. The edited files, the current catalog and the store's address come
in on standard input; the report goes out as JSON. The process writes nothing, runs once at a time
and within a time limit. A memory store cannot be read from outside, so it has no recorded requests.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from llmrouter.catalog.edit_policy import EditPolicy
from llmrouter.catalog.loader import Edits, Overrides, load
from llmrouter.domain.catalog import Catalog
from llmrouter.domain.interfaces import CatalogSource
from llmrouter.errors import CatalogInvalid, DeadlineExceeded, LLMRouterError, Overloaded, Problem

log = logging.getLogger(__name__)

REPLAY_S: Final = 10.0  # after which the report is on what was replayed by then
LIMIT_S: Final = 30.0
INVALID: Final = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files and the records are: a prompts directory and a store's address; `allowed`
    bounds what edits may use."""

    directory: Path
    store: str
    overrides: Overrides | None = None
    allowed: EditPolicy | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What the process is told: its standard input, pickled by its parent for it alone."""

    before: Catalog
    place: Place
    edits: Edits
    last: int


class Previewer:
    """Previews edits of one directory, one at a time."""

    def __init__(self, catalog: CatalogSource, place: Place) -> None:
        self._catalog = catalog
        self._place = place
        self._running = False

    async def preview(self, edits: Edits, last: int) -> bytes:
        """The report, as JSON, on the newest `last` recorded requests.

        Raises CatalogInvalid for an edit that could not be served, Overloaded while another preview
        runs, DeadlineExceeded after LIMIT_S.
        """
        if self._running:
            raise Overloaded("another preview is being worked out; try again", retry_after_s=2.0)
        self._running = True
        try:
            order = Order(self._catalog.current, self._place, edits, last)
            return await _worked_out(pickle.dumps(order))
        except TimeoutError:
            message = f"the preview took over {LIMIT_S:g} s: ask for fewer with `last`"
            raise DeadlineExceeded(message, param="last") from None
        finally:
            self._running = False


async def _worked_out(order: bytes) -> bytes:
    started: list[subprocess.Popen[bytes]] = []
    try:
        code, report, said = await asyncio.to_thread(_run, order, started)
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    except asyncio.CancelledError:
        for process in started:
            process.kill()
        raise
    if code == INVALID:
        raise CatalogInvalid(tuple(Problem(*problem) for problem in orjson.loads(report)))
    if code != 0:
        log.error("a preview failed:\n%s", said.decode(errors="replace")[-2000:])
        raise LLMRouterError("the preview failed; the log says why", code="preview_failed")
    return report


def _run(order: bytes, started: list[subprocess.Popen[bytes]]) -> tuple[int, bytes, bytes]:
    """In a thread: `Popen` starts a process without copying this one's memory map, as a fork of
    the event loop's own would for milliseconds."""
    command = [sys.executable, "-m", "llmrouter.preview"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:  # noqa: S603 - this program itself
        started.append(process)
        try:
            report, said = process.communicate(order, LIMIT_S)
        finally:
            process.kill()
    return process.returncode, report, said


def worked_out(order: Order) -> tuple[int, bytes]:
    """Exit code and standard output of the process: the report, or the edit's problems."""
    from llmrouter.api.request_parser import Endpoint, parse
    from llmrouter.evaluation.catalog_diff.impact import Edit, Journaled, assess_journaled

    place = order.place
    try:
        edit = Edit(
            order.before, load(place.directory, place.overrides, order.edits, place.allowed)
        )
    except CatalogInvalid as invalid:
        return INVALID, orjson.dumps([(p.file, p.line, p.message) for p in invalid.problems])
    where = Journaled(place.store, order.last, REPLAY_S)
    impact = asyncio.run(assess_journaled(edit, where, lambda body: parse(body, Endpoint.COMPLETE)))
    return 0, orjson.dumps(impact.document())


def main() -> None:
    """Read, work it out, write."""
    os.nice(5)
    code, out = worked_out(pickle.loads(sys.stdin.buffer.read()))  # noqa: S301 - from its parent
    sys.stdout.buffer.write(out)
    sys.stdout.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
