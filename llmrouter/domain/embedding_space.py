"""How an encoder is named: in routing.yaml, on the command line, and inside a stored model.

One line says all of it, so that a model fitted on one space of vectors is never asked about
another's: the same model behind another address counts as another space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from llmrouter.domain.patterns import compile_pattern

WANTED: Final = "hashing, openai:MODEL@BASE_URL or local:MODEL"
_OPENAI_MODEL, _OPENAI_URL = "text-embedding-3-small", "https://api.openai.com/v1"
_LOCAL_MODEL = "all-MiniLM-L6-v2"
_MODEL = compile_pattern(r"[\w./:+-]+")
_URL = compile_pattern(r"https?://[^\s/@?#]+(?:/[^\s@?#]*)?")


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """`hashing` needs no more; `openai` has a model and the base URL of its `/embeddings`; `local`
    has a model's name or folder.
    """

    kind: Literal["hashing", "openai", "local"]
    model: str = ""
    base_url: str = ""

    def __str__(self) -> str:
        """The name of the space of vectors, with every default filled in."""
        if self.kind == "hashing":
            return self.kind
        return f"{self.kind}:{self.model}" + (f"@{self.base_url}" if self.base_url else "")


HASHING: Final = EncoderSpec("hashing")


def encoder_spec(text: str) -> EncoderSpec:
    """What a name means; a model or an address that is left out is the usual one.

    Raises ValueError for what is no name, a base URL with user, query or fragment included.
    """
    kind, _, rest = text.partition(":")
    model, at, base_url = rest.partition("@")
    if text == "hashing":
        return HASHING
    if kind == "local" and not at and (text == kind or _MODEL.fullmatch(model)):
        return EncoderSpec("local", model or _LOCAL_MODEL)
    if kind == "openai" and (text == kind or _MODEL.fullmatch(model)):
        url = base_url.rstrip("/") if at else _OPENAI_URL
        if _URL.fullmatch(url):
            return EncoderSpec("openai", model or _OPENAI_MODEL, url)
    raise ValueError(f"no encoder {text!r}: write {WANTED}")
