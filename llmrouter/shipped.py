"""Where the shipped prompts are: a copy inside an installed package, or a checkout's prompts/.

The repository's `prompts/` is the source; `setup.py` copies it when a wheel is built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGED: Final = Path(__file__).parent / "shipped_prompts"
_CHECKOUT: Final = Path(__file__).parent.parent / "prompts"


def shipped_prompts() -> Path:
    """The directory of the shipped prompts."""
    return PACKAGED if PACKAGED.is_dir() else _CHECKOUT


def default_prompts() -> Path:
    """`prompts` in the working directory where there is one, else the shipped ones."""
    here = Path("prompts")
    return here if here.exists() else shipped_prompts()
