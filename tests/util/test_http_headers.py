"""Header fields as they are sent."""

from __future__ import annotations

import pytest

from llmrouter.util.http_headers import field_lines


def test_fields_are_lines_in_their_order() -> None:
    """Names and values as they stand."""
    assert field_lines({"B": "1", "a": "\u00fc"}) == "B: 1\r\na: \u00fc\r\n"
    assert field_lines({}) == ""


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nEvil: 1", "a\rEvil: 1", "a\0"])
def test_a_header_is_one_line(value: str) -> None:
    """Nothing that comes from a caller can start a header of its own."""
    with pytest.raises(ValueError, match="line break"):
        field_lines({"baggage": value})
