"""A request's own script: which tools the simulated model is to call, one after the other.

Coding agents are tried against the simulator with it. A user turn may hold `[simulate NAME {…}]`
once or several times, with a tool's name and its arguments as JSON. The model calls the first tool,
after its result the second, and answers in prose once all of them were called. A tool that the
request does not offer is not called, so what an agent asks on the side stays undisturbed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmrouter.domain.patterns import compile_pattern

_OPENING = compile_pattern(r"\[simulate ([\w.-]+) ")
_DECODER = json.JSONDecoder()


def scripted(
    messages: Sequence[Mapping[str, Any]], texts: Sequence[str], offered: Sequence[str]
) -> tuple[bool, tuple[str, str] | None]:
    """Whether there is a script, and the call that is next: its name and its arguments, as written.

    `texts` are the messages' texts, `offered` the names of the request's tools.
    """
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].get("role") != "user":
            continue
        calls = _calls(texts[at])
        if not calls:
            continue
        done = sum(message.get("role") == "tool" for message in messages[at + 1 :])
        following = calls[done : done + 1]
        return True, next((call for call in following if call[0] in offered), None)
    return False, None


def _calls(text: str) -> list[tuple[str, str]]:
    calls = []
    for opening in _OPENING.finditer(text):
        try:
            arguments, end = _DECODER.raw_decode(text, opening.end())
        except ValueError:
            continue
        if isinstance(arguments, dict) and text[end : end + 1] == "]":
            calls.append((opening[1], text[opening.end() : end]))
    return calls
