"""Tests of where containers end, found without parsing."""

from __future__ import annotations

import orjson
import pytest

from llmrouter.util import json_structure
from llmrouter.util.json_structure import top_level_ends


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_members_of_the_outermost_container_end_behind_their_last_bracket(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brackets and quotes inside strings count for nothing, wherever a slice ends."""
    monkeypatch.setattr(json_structure, "SLICE", step)
    members = [[1, {"a": []}], {"b": "]}"}, '"]\\', "\\\\", [], 7]
    body = orjson.dumps(dict(zip("abcdef", members, strict=True)))
    ends = top_level_ends(body)
    containers = [one for one in members if isinstance(one, list | dict)]
    assert len(ends) == len(containers)
    for end, value in zip(ends, containers, strict=True):
        assert body[:end].endswith(orjson.dumps(value))
    assert len(top_level_ends(b"")) == 0
