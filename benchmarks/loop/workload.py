"""A stream of requests with repeats and near-repeats, and a router LLM that is sometimes wrong.

Why it exists: recorded outcomes say what each target would have answered to each prompt; a
simulation of the learning loop needs them to arrive as traffic does. Popularity is Zipf-like: a
few prompts come again and again, most come once. A near-repeat is the same question in other
clothes: case, white space, words of courtesy before it (and, if asked for, after it).

What it refuses: unseeded randomness. Equal arguments give an equal stream.
"""

from __future__ import annotations

import random
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmrouter.evaluation.benchmark.dataset import Row

BEFORE = ("Please answer: ", "Hi, ", "Quick question: ", "Hello! ", "Please help: ", "So, ")
AFTER = (" Thanks", " Thank you!", " Please be brief.")


@dataclass(frozen=True, slots=True)
class Request:
    """One arrival. `row` indexes the rows; `kind` is `new`, `repeat` (word for word up to case and
    white space, so the decision cache knows it) or `near` (in other words around it).
    """

    row: int
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """`requests` arrivals; prompt k is asked in proportion to 1 / k**`exponent`; `near` is the
    share of repeats that come with other words before them, `after` the share of those that have
    words after them too; `shuffled` False keeps file order.
    """

    requests: int = 10_000
    exponent: float = 1.0
    near: float = 0.3
    after: float = 0.0
    shuffled: bool = True
    seed: int = 0


def normalised(text: str) -> str:
    """What the decision cache takes for equal: NFKC, case and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def stream(rows: Sequence[Row], traffic: Traffic) -> list[Request]:
    """The arrivals, in order. A prompt's first arrival is word for word."""
    numbers = np.random.default_rng(traffic.seed)
    dice = random.Random(traffic.seed)
    weights = 1.0 / np.arange(1, len(rows) + 1) ** traffic.exponent
    draws = numbers.choice(len(rows), size=traffic.requests, p=weights / weights.sum())
    order = list(range(len(rows)))
    if traffic.shuffled:
        dice.shuffle(order)
    coming = iter(order)
    arrived: dict[int, int] = {}
    seen: set[str] = set()
    out: list[Request] = []
    for draw in draws.tolist():
        first = draw not in arrived
        if first:
            arrived[draw] = next(coming)
        row = arrived[draw]
        text = rows[row].prompt if first else _again(rows[row].prompt, traffic, dice)
        key = normalised(text)
        kind = "new" if first else "repeat" if key in seen else "near"
        seen.add(key)
        out.append(Request(row, text, kind))
    return out


def _again(prompt: str, traffic: Traffic, dice: random.Random) -> str:
    """The prompt as someone else would send it."""
    if dice.random() >= traffic.near:
        return dice.choice((prompt, prompt + " ", prompt.replace(" ", "  ", 1), prompt.upper()))
    start = dice.choice(BEFORE)
    body = prompt[:1].lower() + prompt[1:] if dice.random() < 0.5 else prompt
    return start + body + (dice.choice(AFTER) if dice.random() < traffic.after else "")


@dataclass(frozen=True, slots=True)
class RouterModel:
    """A simulated router LLM.

    With probability `accuracy` it names the cheapest of the targets whose answer is worth most,
    else another one at random. At temperature 0 the same text gets the same answer; another
    wording, or asking in another way, gets another answer with probability `wobble`. One call
    costs `usd`.
    """

    accuracy: float = 0.8
    usd: float = 0.0001
    wobble: float = 0.05
    seed: int = 0

    def pick(
        self,
        request: Request,
        outcomes: Sequence[float],
        prices: Sequence[float],
        way: str = "",
    ) -> int:
        """The index of the target it names; `way` names another way of asking."""
        dice, asked = self._dice(f"row {request.row}"), way + normalised(request.text)
        if self._dice(f"text {asked}").random() < self.wobble:
            dice = self._dice(f"again {asked}")
        top = max(outcomes)
        best = [index for index, outcome in enumerate(outcomes) if outcome >= top - 1e-9]
        others = [index for index in range(len(outcomes)) if index not in best]
        if others and dice.random() >= self.accuracy:
            return dice.choice(others)
        return min(best, key=lambda index: (prices[index], index))

    def _dice(self, about: str) -> random.Random:
        return random.Random(f"{self.seed} {zlib.crc32(about.encode('utf-8', 'replace'))}")
