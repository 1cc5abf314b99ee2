"""When a rate limit ends, where the provider says so in its rate limit headers alone.

Read for refusals without `Retry-After`. Only limits that are used up count (`remaining` 0), and of
several the one that lasts longest, because the next request needs all of them. Spellings: OpenAI
and Groq `x-ratelimit-reset-requests: 2m59.5s`, Anthropic `anthropic-ratelimit-tokens-reset` with a
timestamp, OpenRouter `X-RateLimit-Reset` in milliseconds since 1970, GitHub Models in seconds since
1970, and the IETF draft's `RateLimit-Reset` in seconds from now.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

_KINDS: Final = ("requests", "tokens", "input-tokens", "output-tokens")
_PAIRS: Final = (
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-remaining", "ratelimit-reset"),
    *((f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}") for kind in _KINDS),
    *((f"anthropic-ratelimit-{k}-remaining", f"anthropic-ratelimit-{k}-reset") for k in _KINDS),
)
_UNITS: Final = (("ms", 0.001), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("d", 86400.0))
_LONGEST: Final = 40


def reset_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until the limits that are used up are full again, or None. `now` is Unix time.

    `headers` are looked up without regard to case where the mapping does so.
    """
    waits: list[float] = []
    for remaining, reset in _PAIRS:
        said = headers.get(reset)
        if said is None or headers.get(remaining, "0").strip() not in ("0", "0.0"):
            continue
        wait = _seconds(said.strip()[:_LONGEST], now)
        if wait is not None and wait > 0:
            waits.append(wait)
    return max(waits, default=None)


def _seconds(text: str, now: float) -> float | None:
    """A duration, a number of seconds, or a point in time, as seconds from now."""
    try:
        value = float(text)
    except ValueError:
        wait = _duration(text)
        return _until(text, now) if wait is None else wait
    if not 0 <= value < 1e15:
        return None
    if value >= 1e11:  # milliseconds since 1970
        return value / 1000.0 - now
    return value - now if value >= 1e9 else value


def _until(text: str, now: float) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() - now
    except (ValueError, OverflowError):
        return None


def _duration(text: str) -> float | None:
    """`6m0s`, `1.5s`, `20ms`, `1h2m3s`, or None where it is no duration."""
    total, number = 0.0, ""
    while text:
        if text[0] in "0123456789.":
            number, text = number + text[0], text[1:]
            continue
        unit = next((pair for pair in _UNITS if text.startswith(pair[0])), None)
        if unit is None or not number or number.count(".") > 1 or number == ".":
            return None
        total += float(number) * unit[1]
        number, text = "", text[len(unit[0]) :]
    return None if number else total
