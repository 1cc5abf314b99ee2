"""Reads `.env` into the environment, before any setting or provider key is looked up."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from dotenv import dotenv_values


def load_env(path: Path = Path(".env"), environ: MutableMapping[str, str] = os.environ) -> None:
    """Set what `.env` says and the environment does not; its own word always counts."""
    for name, value in dotenv_values(path, encoding="utf-8").items():
        if value is not None:
            environ.setdefault(name, value)
