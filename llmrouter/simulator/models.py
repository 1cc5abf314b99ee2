"""What a simulated model can do: a transparent stand-in for quality, never a claim about a product.

Every figure is a rough order of magnitude, so that routing visibly matters in a demo: the abilities
say nothing about the models whose names they carry.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from llmrouter.domain.patterns import compile_pattern


@dataclass(frozen=True, slots=True)
class Profile:
    """`ability` 0..1, milliseconds to the first token, tokens a second, share of failures."""

    ability: float
    ttft_ms: float
    tokens_per_s: float
    error_rate: float = 0.0


KNOWN: tuple[tuple[str, Profile], ...] = (
    ("gpt-6.2-sol", Profile(0.97, 110, 900)),
    ("gpt-6-luna", Profile(0.66, 40, 2000)),
    ("gemini-3.8-flash", Profile(0.8, 45, 1800)),
    ("gemini-3.5-flash-lite", Profile(0.55, 25, 2400)),
    ("gpt-5-nano", Profile(0.45, 25, 2400)),
    ("gpt-5-mini", Profile(0.68, 40, 1800)),
    ("gpt-5", Profile(0.95, 90, 900)),
    ("gpt-4.1-mini", Profile(0.62, 40, 1800)),
    ("claude-opus", Profile(0.96, 90, 800)),
    ("claude-sonnet", Profile(0.92, 70, 1000)),
    ("claude-haiku", Profile(0.72, 40, 1800)),
    ("gemini-2.5-pro", Profile(0.92, 80, 1200)),
    ("gemini-2.5-flash-lite", Profile(0.5, 25, 2400)),
    ("gemini-2.5-flash", Profile(0.7, 35, 2000)),
    ("mistral-large", Profile(0.8, 50, 1200)),
    ("mistral-small", Profile(0.55, 35, 1800)),
    ("deepseek", Profile(0.82, 70, 900)),
    ("llama", Profile(0.4, 60, 600)),
    ("qwen", Profile(0.5, 60, 600)),
    ("gemma", Profile(0.42, 60, 700)),
    ("phi", Profile(0.42, 50, 800)),
    ("smollm", Profile(0.15, 60, 600)),
    ("o3", Profile(0.94, 120, 700)),
    ("o4-mini", Profile(0.85, 90, 1000)),
    ("grok", Profile(0.88, 80, 900)),
    ("gpt-4o-mini", Profile(0.58, 40, 1800)),
    ("gpt-4", Profile(0.82, 70, 1000)),
    ("gpt-", Profile(0.9, 90, 900)),
    ("claude", Profile(0.88, 80, 900)),
    ("gemini", Profile(0.75, 50, 1600)),
    ("mistral", Profile(0.6, 45, 1400)),
)


def share(*parts: str) -> float:
    """A number in 0..1 that depends on `parts` alone."""
    digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") / 2**64


def known(model: str) -> bool:
    """Whether the start of the name has a profile of its own."""
    return _known(model) is not None


@lru_cache(maxsize=512)
def profile(model: str) -> Profile:
    """A model's profile: by the start of its name, or derived from the name where it is new."""
    found = _known(model)
    if found is not None:
        return found
    plain = _plain(model)
    return Profile(0.3 + 0.6 * share("ability", plain), 30 + 60 * share("ttft", plain), 1000)


def _known(model: str) -> Profile | None:
    plain = _plain(model)
    return next((found for start, found in KNOWN if plain.startswith(start)), None)


def _plain(model: str) -> str:
    return model.rpartition("/")[2].lower()


HARD = compile_pattern(
    r"\b(prove|proof|theorem|derive|integral|eigen|asymptotic|complexity|concurren|deadlock|"
    r"optimi[sz]e|architect|refactor|debug|invariant|probability|differential|diagnos|"
    r"jurisdiction|liab|strateg|trade-?offs?|why)\w*|[∑∫√∞≤≥∀∃]|\\frac|\\sum",
    ignore_case=True,
)
EASY = compile_pattern(
    r"\b(summari[sz]e|translate|rephrase|classify|extract|list|hello|hi|thanks|spell|capital of)\b",
    ignore_case=True,
)
HARDEST = 0.86
WORKED = compile_pattern(r"\d+\s*[-+*/^=%]\s*\d+|\d+%|```|\bdef |\bclass |;\s*$", multiline=True)


@lru_cache(maxsize=4096)
def difficulty(text: str) -> float:
    """How hard a request is, 0..1: hard words and formulas raise it, simple errands lower it.

    The same text always gives the same number; a little of it is the text's own hash. The hardest
    is still within what the strongest models can do.
    """
    read = text[:4000]
    hard = len({m.group(0).lower() for m in HARD.finditer(read)})
    level = 0.28 + 0.17 * min(hard, 4) + (0.1 if WORKED.search(read) else 0.0)
    if EASY.search(read) and hard < 2:
        level -= 0.2
    return min(HARDEST, max(0.02, level + 0.2 * (share("difficulty", read) - 0.5)))


def mastery(model: str, text: str) -> float:
    """How well `model` does on `text`, 0..1: above 0.5 the answer is right."""
    margin = profile(model).ability - difficulty(text)
    return min(0.99, max(0.01, 0.5 + 1.2 * margin + 0.1 * (share(model, text[:4000]) - 0.5)))
