"""`n` over 1 through the whole service: a choice that breaks off is told, at every door."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_circuits import DOORS, message, post, state
from tests.test_faults import events, front, is_error


@DOORS
@pytest.mark.parametrize("mode", ["two_cut", "two_cut_end"])
async def test_a_stream_with_an_unfinished_choice_ends_in_an_error_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, path: str
) -> None:
    """In place of `[DONE]`, naming the choice; and it counts against the target."""
    async with front(tmp_path, monkeypatch, threshold=2) as up:
        for _ in range(2):
            status, _, body = await post(up, path, mode, True, n=2)
            last = events(body)[-1]
            assert (status, is_error(last)) == (200, True)
            broken = 1 if mode == "two_cut" else 0
            assert f"choice {broken} of the stream broke off" in message(last)
            assert b"[DONE]" not in body
        assert await state(up, mode) == "open"


@DOORS
@pytest.mark.parametrize("mode", ["two", "ok"])
async def test_a_stream_whose_choices_finish_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, path: str
) -> None:
    """Also from a server that gives fewer choices than asked for."""
    async with front(tmp_path, monkeypatch) as up:
        status, _, body = await post(up, path, mode, True, n=2)
        assert (status, events(body)[-1]) == (200, b"[DONE]")
