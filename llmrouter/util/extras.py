"""Optional packages: which extra brings them, and what to tell a user who lacks them."""

from __future__ import annotations

from importlib.util import find_spec

from llmrouter.errors import ExtraMissing

EXTRAS = {"learn": ("scipy", "sklearn")}
"""The packages that each extra adds, by the name they are imported under."""


def installed(extra: str) -> bool:
    """Whether every package of `extra` can be imported. Imports none of them."""
    return all(find_spec(package) is not None for package in EXTRAS[extra])


def require(extra: str, purpose: str) -> None:
    """Raise ExtraMissing, with the command that installs it, where `extra` is not installed.

    `purpose` starts the message: "fitting a model".
    """
    if not installed(extra):
        raise ExtraMissing(f"{purpose} needs more packages: pip install 'llmrouter[{extra}]'")
