"""Takes out what a coding harness wraps around a user's words.

Harnesses put reminders, open files and the state of the shell into user turns. None of it says how
hard the request is, and much of it changes every minute. Only closed envelopes are taken out: an
open tag without its end is the user's own text and stays. One pass, linear in the text.
"""

from __future__ import annotations

from typing import Final

ENVELOPES: Final = ("system-reminder", "environment_details", "environment_context")


def strip_envelopes(text: str) -> str:
    """`text` without its envelopes; as it stands when nothing else would be left of it."""
    if "<" not in text or "</" not in text:  # one character is found many times faster than two
        return text
    stripped = text
    for name in ENVELOPES:
        if f"<{name}>" in stripped:
            stripped = _without(stripped, f"<{name}>", f"</{name}>")
    if stripped is text:
        return text
    return stripped.strip() or text


def _without(text: str, opening: str, closing: str) -> str:
    kept: list[str] = []
    place = 0
    while (start := text.find(opening, place)) >= 0:
        end = text.find(closing, start)
        if end < 0:
            break
        kept.append(text[place:start])
        place = end + len(closing)
    kept.append(text[place:])
    return "".join(kept)
