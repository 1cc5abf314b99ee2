"""Ordinary text that once hung a worker is answered, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.test_bootstrap import Running, running

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


async def answered_meanwhile(up: Running, stop: asyncio.Event) -> int:
    """How often the service answers a probe until it is told to stop."""
    count = 0
    while True:
        async with asyncio.timeout(ANSWER_S):
            assert (await up.get("/healthz"))[0] == 200
        count += 1
        if stop.is_set():
            return count
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.01)


async def test_text_of_any_kind_is_routed_and_probes_are_answered_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The four that were reported and their siblings, as prompt, as system prompt and in parts."""
    async with running(tmp_path, monkeypatch) as up:
        for text in (REPORTED | SIBLINGS).values():
            stop = asyncio.Event()
            probing = asyncio.ensure_future(answered_meanwhile(up, stop))
            bodies = (
                {"messages": [{"role": "user", "content": text}]},
                {
                    "messages": [
                        {"role": "system", "content": text},
                        {"role": "user", "content": [{"type": "text", "text": text}]},
                    ]
                },
            )
            async with asyncio.timeout(ANSWER_S):
                for body in bodies:
                    status, found, _ = await up.post("/route", **body)
                    assert status in (200, 422), found
            stop.set()
            assert await probing > 0
        status, found, _ = await up.post("/complete", prompt=REPORTED["ruled lines"])
        assert status == 200
        assert found["router"]["target"] in {"small", "large"}
