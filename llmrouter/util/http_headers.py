"""Header fields as HTTP sends them, towards callers and upstreams alike."""

from __future__ import annotations

from collections.abc import Mapping


def field_lines(fields: Mapping[str, str]) -> str:
    """One line for each field. Raises ValueError for a field that would be more than its line."""
    text = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
    if text.count("\n") != len(fields) or text.count("\r") != len(fields) or "\0" in text:
        raise ValueError("a header holds a line break")
    return text
