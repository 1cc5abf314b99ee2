"""The `router` object of a request: every key checked, unknown ones refused with a suggestion.

A misspelt option that is silently ignored sends traffic to the wrong model, so nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from llmrouter.domain.chat import CACHE_MODES, NO_OPTIONS, STRATEGIES, RouterOptions
from llmrouter.errors import BadRequest

MAX_NAME = 256
MAX_IDS = 1000
KEYS: tuple[str, ...] = tuple(option.name for option in fields(RouterOptions))


def parse_options(value: object) -> RouterOptions:
    """Check a `router` object. Raises BadRequest whose `param` is `router.<key>`."""
    if value is None:
        return NO_OPTIONS
    if not isinstance(value, dict):
        raise wrong_type("router", "an object", value)
    read: dict[str, Any] = {}
    for key, given in value.items():
        reader = _READERS.get(key)
        if reader is None:
            raise BadRequest(
                f"unknown router option {shown(key)}{suggestion(key, KEYS)}",
                param=f"router.{key[:64]}",
                code="unknown_parameter",
            )
        if given is not None:
            read[key] = reader(f"router.{key}", given)
    return RouterOptions(**read) if read else NO_OPTIONS


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def wrong_type(param: str, wanted: str, value: object) -> BadRequest:
    """The error for a value of the wrong JSON type."""
    return BadRequest(
        f"{param} must be {wanted}, not {kind(value)}", param=param, code="invalid_type"
    )


def wrong_value(param: str, message: str) -> BadRequest:
    """The error for a value of the right type that cannot be."""
    return BadRequest(f"{param} {message}", param=param, code="invalid_value")


def shown(text: str) -> str:
    """A caller's own text, quoted and short enough for a message."""
    return f'"{text}"' if len(text) <= 64 else f'"{text[:64]}…"'


def suggestion(given: str, known: tuple[str, ...]) -> str:
    """`; did you mean "x"?`, or the list of what is known."""
    near = get_close_matches(given[:64], known, 1)
    return f'; did you mean "{near[0]}"?' if near else f"; it is one of {', '.join(known)}"


def _number(low: float, high: float, *, above: bool = False) -> Callable[[str, object], float]:
    """A reader of numbers from `low` (exclusive when `above`) to `high`."""

    def read(param: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong_type(param, "a number", value)
        if value > high or value < low or (above and value == low):
            bounds = f"above {low:g} and at most" if above else f"from {low:g} to"
            raise wrong_value(param, f"must be {bounds} {high:.15g}, not {value:g}")
        return float(value)

    return read


def _text(param: str, value: object) -> str:
    if not isinstance(value, str):
        raise wrong_type(param, "a string", value)
    if not value or len(value) > MAX_NAME:
        raise wrong_value(param, f"must have 1 to {MAX_NAME} characters, not {len(value)}")
    return value


def _ids(param: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise wrong_type(param, "a list of target ids", value)
    if len(value) > MAX_IDS:
        raise wrong_value(param, f"must hold at most {MAX_IDS} ids, not {len(value)}")
    return tuple(_text(f"{param}[{index}]", item) for index, item in enumerate(value))


def _some_ids(param: str, value: object) -> tuple[str, ...]:
    ids = _ids(param, value)
    if not ids:
        raise wrong_value(param, "must name at least one target; leave it out to allow all")
    return ids


def _one_of(choices: frozenset[str]) -> Callable[[str, object], str]:
    known = tuple(sorted(choices))

    def read(param: str, value: object) -> str:
        if not isinstance(value, str):
            raise wrong_type(param, "a string", value)
        if value not in choices:
            raise wrong_value(param, f"cannot be {shown(value)}{suggestion(value, known)}")
        return value

    return read


_READERS: Mapping[str, Callable[[str, object], object]] = {
    "tier": _text,
    "latency_budget_ms": _number(0.0, 86_400_000.0, above=True),
    "max_cost_usd": _number(0.0, 1_000_000.0),
    "quality": _number(0.0, 1.0),
    "allow": _some_ids,
    "deny": _ids,
    "task": _text,
    "session": _text,
    "strategy": _one_of(STRATEGIES),
    "cache": _one_of(CACHE_MODES),
    "decision_id": _text,
}
