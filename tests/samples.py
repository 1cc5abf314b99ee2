"""How many made-up inputs a property is tried on: a fifth of what `make thorough` takes.

A property that holds for every input is found wrong by few of them as a rule; the nightly run
looks for the rest.
"""

from __future__ import annotations

import os

THOROUGH = os.environ.get("LLMROUTER_TESTS") == "thorough"


def examples(thorough: int) -> int:
    """So many inputs in a thorough run, a fifth of them (five at least) in any other."""
    return thorough if THOROUGH else max(5, thorough // 5)
