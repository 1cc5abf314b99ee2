"""Short hashes of what decides, so that an edit invalidates cached decisions by itself.

Hashed are values, never text: white space, comments, key order and the order of lists that are sets
change nothing. Left out is what says where a model is reached and how long it may take (base_url,
api_key_env, timeouts), because it changes no choice, and disabled targets, which cannot be chosen.
Descriptions count, with their white space collapsed: the router LLM reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any

from llmrouter.domain.patterns import Pattern, compile_pattern
from llmrouter.domain.target import Target

_NO_CHOICE = frozenset(
    {
        "access",
        "aliases",
        "api_key_env",
        "auth",
        "base_url",
        "encoder_price",
        "lines",
        "stall_timeout_s",
        "timeout_ms",
        "timeout_s",
        "ttft_timeout_s",
        "unusable",
    }
)
_COMMENT = compile_pattern(r"\{#.*?#\}", dot_all=True)


def target_revision(targets: Iterable[Target]) -> str:
    """12 hex characters that change when a choice among enabled targets could."""
    return _digest(
        [
            {**_values(target), "description": " ".join(target.description.split())}
            for target in sorted(targets, key=lambda target: target.id)
            if target.enabled
        ]
    )


def policy_revision(policy: Any) -> str:
    """12 hex characters over routing.yaml's values (a dataclass)."""
    return _digest(_values(policy))


def prompt_revision(template: str) -> str:
    """12 hex characters over the router's template, its comments left out."""
    return _digest(_COMMENT.sub("", template).strip())


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _values(value: Any) -> dict[str, Any]:
    return {
        part.name: _canonical(getattr(value, part.name))
        for part in fields(value)
        if part.name not in _NO_CHOICE
    }


def _canonical(value: Any) -> Any:
    if is_dataclass(value):
        return _values(value)
    if isinstance(value, Mapping):
        return {str(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple | list):
        return [_canonical(inner) for inner in value]
    if isinstance(value, Pattern):
        return value.pattern
    return value
