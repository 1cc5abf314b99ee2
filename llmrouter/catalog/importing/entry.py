"""One model as an import found it, and the catalog file that it becomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmrouter.domain.patterns import compile_pattern

_NOT_IN_IDS = compile_pattern(r"[^a-z0-9.]+")
_PLAIN = compile_pattern(r"[A-Za-z/][\w./:-]*[\w/]")
CONTEXT_UNKNOWN = 8192
"""Tokens of context where a source tells none: few enough for every current model."""


class ImportFailed(Exception):
    """The source cannot be read as any known kind; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model with the keys of its catalog file. Prices are USD per one million tokens.

    `notes` are what the author should check; each becomes a comment. `price` is None where the
    source has no price.
    """

    name: str
    model: str
    provider: str
    base_url: str
    api_key_env: str | None = None
    price: Mapping[str, float] | None = None
    context_window: int | None = None
    max_output: int | None = None
    capabilities: tuple[str, ...] = ()
    description: str = ""
    aliases: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The name as the stem of a file: lower case, letters, digits, dots and hyphens."""
        return _NOT_IN_IDS.sub("-", self.name.lower()).strip("-.")[:80] or "model"

    def file(self, source: str, day: str) -> str:
        """The text of its catalog file. `source` and `day` (YYYY-MM-DD) say where it came from."""
        notes = list(self.notes)
        lines = ["---", f"# Imported from {source} on {day}."]
        values: dict[str, Any] = {
            "model": self.model,
            "provider": self.provider,
            "base_url": self.base_url,
        }
        if self.api_key_env is not None:
            values["api_key_env"] = self.api_key_env
        values |= self.extra
        if self.price is None:
            notes.append("The source has no price: 0 counts the model as free, so set it.")
        values["price"] = dict(self.price or {"input": 0, "output": 0})
        if self.context_window is None:
            notes.append(f"The source has no context window: {CONTEXT_UNKNOWN} is a guess.")
        values["context_window"] = self.context_window or CONTEXT_UNKNOWN
        if self.max_output is not None:
            values["max_output"] = min(self.max_output, values["context_window"])
        if not self.capabilities:
            notes.append("The source has no capabilities: list tools, json_schema, vision, …")
            notes.append("where the model has them; requests that need them go elsewhere.")
        values["capabilities"] = list(self.capabilities)
        if self.aliases:
            values["aliases"] = list(self.aliases)
        lines += [f"# {note}" for note in notes]
        # JSON is YAML, and quotes whatever a name from elsewhere may hold.
        lines += [f"{key}: {_scalar(value)}" for key, value in values.items()]
        lines += ["---", self.description.strip() or _placeholder(self)]
        return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    plain = isinstance(value, str) and _PLAIN.fullmatch(value)
    if plain and value.lower() not in ("true", "false", "null", "yes", "no", "on", "off"):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _placeholder(model: ImportedModel) -> str:
    return (
        f"{model.model}, served by {model.provider}. Imported without a description: say here what "
        "it is strong at, what it is weak at, and when to choose it."
    )


def usd_per_million(usd_per_token: object) -> float | None:
    """A price as most lists have it (a number or text, USD per token), or None."""
    try:
        value = float(usd_per_token)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        return None
    return round(value * 1_000_000, 6) if 0 <= value < 1 else None


def whole(value: object) -> int | None:
    """A positive whole number, or None."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
