"""Unicode forms of text from outside, in time linear in its length.

Putting combining marks in order takes quadratic time in how many follow one another, and 200 KB of
stacked marks would hold the event loop for many seconds. The Stream-Safe Text Format (UAX #15)
bounds them: after 30 marks in a row comes a COMBINING GRAPHEME JOINER, which changes no meaning and
ends the run. No language writes so many.
"""

from __future__ import annotations

from typing import Final
from unicodedata import normalize

from llmrouter.domain.patterns import Match, compile_pattern

MARKS_IN_A_ROW: Final = 30
JOINER: Final = "\u034f"
# U+FF9E and U+FF9F are letters that become marks in compatibility forms.
_STACKED: Final = compile_pattern(
    rf"(?:[^\P{{M}}\x{{034F}}]|[\x{{FF9E}}\x{{FF9F}}]){{{MARKS_IN_A_ROW + 1},}}"
)


def nfkc(text: str) -> str:
    """The compatibility form (NFKC) of `text`, made stream-safe first."""
    return text if text.isascii() else normalize("NFKC", stream_safe(text))


def stream_safe(text: str) -> str:
    """`text` with at most MARKS_IN_A_ROW combining marks in a row; text as people write it stays.

    Idempotent. Lone surrogates stay as they are.
    """
    if not _STACKED.found_in(text.encode("utf-8", "replace")):
        return text
    pieces: list[str] = []
    at = 0
    for stack in _STACKED.finditer(text):
        pieces += text[at : stack.start()], _split(stack)
        at = stack.end()
    return "".join((*pieces, text[at:]))


def _split(stack: Match) -> str:
    marks: str = stack[0]
    step = MARKS_IN_A_ROW
    return JOINER.join(marks[at : at + step] for at in range(0, len(marks), step))
