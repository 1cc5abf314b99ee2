"""Files stay short, and the page to read first stays one page."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "llmrouter"
LONGEST = 400
GATEWAY = 150


def lines(path: Path) -> int:
    """Lines of a file."""
    return len(path.read_text().splitlines())


def test_no_module_is_longer_than_it_may_be() -> None:
    """Beyond 400 lines a file is two files; how many parameters a function has, ruff checks."""
    long = {
        str(path.relative_to(PACKAGE)): count
        for path in PACKAGE.rglob("*.py")
        if (count := lines(path)) > LONGEST
    }
    assert long == {}


def test_the_gateway_fits_on_a_page() -> None:
    """What is no step of a request belongs in a room."""
    assert lines(PACKAGE / "gateway.py") <= GATEWAY
