"""Splits a catalog file into its front matter and its description, keeping line numbers. Pure.

A catalog file is Markdown that opens with YAML between two `---` lines. Nothing is guessed here: a
file that does not open with a fence, or never closes it, is refused with the line to mend, because
half a front matter read as prose would silently drop a price or a limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmrouter.errors import CatalogInvalid, Problem

BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Parts:
    """Both halves of a file; `*_line` is the 1-based line of the file on which each begins."""

    front: str
    front_line: int
    body: str
    body_line: int


def unified(text: str) -> str:
    """`text` without a byte order mark, its lines ended by a newline alone."""
    return text.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n").replace("\r", "\n")


def split(file: str, text: str) -> Parts:
    """The halves of a catalog file. Raises CatalogInvalid with one problem when there are none."""
    lines = unified(text).split("\n")
    if not any(line.strip() for line in lines):
        raise _refused(file, 1, "the file is empty: open it with `---`, the settings, and `---`")
    if lines[0].rstrip() != "---":
        raise _refused(file, 1, "the first line must be `---`, which opens the front matter")
    for number, line in enumerate(lines[1:], start=2):
        if line.rstrip() in ("---", "..."):
            front = "\n".join(lines[1 : number - 1])
            return Parts(front, 2, "\n".join(lines[number:]), number + 1)
    raise _refused(
        file, 1, "the front matter is never closed: add a line `---` before the description"
    )


def _refused(file: str, line: int, message: str) -> CatalogInvalid:
    return CatalogInvalid((Problem(file, line, message),))
