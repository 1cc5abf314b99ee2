"""Ordinary text that once hung a worker for good is answered, and probes are answered meanwhile.

The service is a process of its own, so that one that hangs fails a test and hangs no suite.
"""

from __future__ import annotations

import signal
import threading
import urllib.request
from pathlib import Path
from typing import Any

import orjson

from tests.catalog.prompts_dir import LARGE, SMALL, written
from tests.served import Process, process

REPORTED = {
    "ruled lines": "Fix this:\n# --------------------------------------------\n# settings\nx = 1",
    "hash marks": "########################",
    "dashes after a verb": "Please write ------------------------",
    "quotation marks": "Translate " + '"' * 20,
}
SIBLINGS = {
    "long ruled lines": "Fix this:\n" + ("# " + "-" * 4000 + "\n") * 20 + "x = 1",
    "hash marks, many": "#" * 60_000,
    "dashes, many": "write " + "-" * 60_000,
    "quotation marks, many": "Translate " + "\"'\u201c\u00ab" * 15_000,
    "brackets": "(" * 30_000 + "[" * 30_000,
    "line feeds": "\n" * 60_000,
    "spaces before a question": " " * 60_000 + "?",
    "digits": "1" * 60_000 + "." * 10,
    "words and slashes": "a/" * 30_000,
    "html": "<" * 60_000 + "/a>",
    "stacked marks": "a" + "\u0301" * 30_000,
    "select without end": "select " + "a, " * 20_000,
    "options": "a) " * 20_000 + "b) ",
    "code fences": "```" * 20_000,
}
ANSWER_S = 60.0
"""A hung worker takes for ever; a busy machine may take seconds."""


def route(service: Process, **body: Any) -> Any:
    """The document that `/route` answers. Raises OSError where it is not 200 in time."""
    data, headers = orjson.dumps(body), {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{service.base}/route", data, headers)  # noqa: S310 - our own
    with urllib.request.urlopen(asked, timeout=ANSWER_S) as answer:  # noqa: S310 - our own
        return orjson.loads(answer.read())


class Probe(threading.Thread):
    """Asks `/healthz` again and again until it is stopped; `failed` is what went wrong."""

    def __init__(self, service: Process) -> None:
        super().__init__(daemon=True)
        self._address = f"{service.base}/healthz"
        self._stop_asking = threading.Event()
        self.answered = 0
        self.failed: Exception | None = None

    def run(self) -> None:
        """Until stopped, or until an answer does not come."""
        try:
            while not self._stop_asking.wait(0.02):
                with urllib.request.urlopen(self._address, timeout=ANSWER_S):  # noqa: S310 - our own
                    self.answered += 1
        except OSError as error:
            self.failed = error

    def stop(self) -> None:
        """End it."""
        self._stop_asking.set()
        self.join()


def test_text_of_any_kind_is_routed_and_probes_and_signals_are_heard_meanwhile(
    tmp_path: Path,
) -> None:
    """The four that were reported and their siblings, as a prompt, a system prompt and in parts."""
    wide = {"small": SMALL.replace("8000", "800000"), "large": LARGE.replace("8000", "800000")}
    written(tmp_path / "prompts", **wide)
    with process(tmp_path, "serve", EXAMPLE_KEY="k") as service:
        probe = Probe(service)
        probe.start()
        for text in (REPORTED | SIBLINGS).values():
            user = {"role": "user", "content": [{"type": "text", "text": text}]}
            for body in (
                {"prompt": text},
                {"messages": [{"role": "system", "content": text}, user]},
            ):
                found = route(service, **body, router={"strategy": "rules"})
                assert found["target"] in {"small", "large"}
        probe.stop()
        assert probe.failed is None
        assert probe.answered > 0
        service.signal(signal.SIGTERM)
        assert service.ends() == 0
