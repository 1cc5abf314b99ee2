"""The policies under comparison: what each chooses for every row, and its score and cost.

Always-cheapest, always-best, random, rules, learned, cascades and the oracle are functions of the
same estimates and the same realised grades, so their figures can be compared row by row. Cascades
use a simulated verifier of stated accuracy, in expectation, without random draws. Only `oracle` and
the reference "best on test" decide by test grades, and both are marked as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmrouter.domain.patterns import compile_pattern
from llmrouter.domain.utility import factor
from llmrouter.evaluation.benchmark.dataset import Row
from llmrouter.evaluation.benchmark.estimates import PriorEstimates

Matrix = NDArray[np.float64]
Choices = NDArray[np.int64]

PRICES_OF_BURDEN: NDArray[np.float64] = np.concatenate(
    ([0.0], np.geomspace(1e-3, 1e3, 241), [np.inf])
)
"""What a sweep tries: quality worth the cost of the dearest target, from nothing to everything."""
DEFAULT_QUALITY = 0.5
ATTEMPTS = 3
GOOD = 0.5
"""The least grade that a verifier should accept."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Realised `score` and `cost`, both [n, T].

    `coverage` [n, T] is true where the outcome is recorded; elsewhere `score` is what
    `weighed` makes of the others.
    """

    score: Matrix
    cost: Matrix
    coverage: NDArray[np.bool_]


def weighed(rows: Sequence[Row], targets: Sequence[str]) -> tuple[Matrix, NDArray[np.bool_]]:
    """Scores [n, T] and where they are recorded.

    Where every outcome is recorded these are the outcomes. A journal holds the outcome of the
    target that served, and no other: then a recorded outcome stands for the rows that lack one, so
    that the mean of a policy is the mean recorded outcome of its choices, per target
    (self-normalised inverse propensity with one propensity a target). That is right as far as
    targets were not picked by how hard the request was.
    """
    out = np.full((len(rows), len(targets)), np.nan)
    for number, row in enumerate(rows):
        for column, target in enumerate(targets):
            out[number, column] = row.outcomes.get(target, np.nan)
    known = ~np.isnan(out)
    if known.all():
        return out, known
    counts = known.sum(axis=0)
    mean = np.nansum(out, axis=0) / np.maximum(counts, 1)
    scale = len(rows) / np.maximum(counts, 1)
    return np.where(known, mean + scale * (np.nan_to_num(out) - mean), mean), known


@dataclass(frozen=True, slots=True)
class CostQualityCurve:
    """A policy at every price of `prices` [L]: `score`, `cost` [n, L]."""

    prices: NDArray[np.float64]
    score: Matrix
    cost: Matrix


@dataclass(frozen=True, slots=True)
class PolicyRun:
    """A policy played on every row: `score`, `cost` [n], and `known`, the share of its first
    choices whose outcome is recorded. `curve` where the policy has a dial.
    """

    name: str
    detail: str
    score: NDArray[np.float64]
    cost: NDArray[np.float64]
    known: float
    curve: CostQualityCurve | None = None
    sees_test: bool = False


def take(truth: Truth, choices: Choices) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Score, cost and known share of one choice per row."""
    rows = np.arange(len(choices))
    known = float(truth.coverage[rows, choices].mean()) if len(rows) else 1.0
    return truth.score[rows, choices], truth.cost[rows, choices], known


def choose_many(quality: Matrix, burdens: Matrix, price: float | NDArray[np.float64]) -> Choices:
    """`learning.choice.at_price` for n rows at once; `price` is one number or one per row.

    The highest `quality - price * burden`; ties go to the lesser burden, at an infinite price to
    the better quality.
    """
    prices = np.broadcast_to(np.asarray(price, np.float64), (len(quality),))[:, None]
    finite = np.where(np.isfinite(prices), prices, 0.0)
    utility = quality - finite * burdens
    top = utility.max(axis=1, keepdims=True)
    by_utility = np.where(utility >= top, burdens, np.inf).argmin(axis=1)
    least = burdens.min(axis=1, keepdims=True)
    by_burden = np.where(burdens <= least, quality, -np.inf).argmax(axis=1)
    return np.asarray(np.where(np.isfinite(prices[:, 0]), by_utility, by_burden), np.int64)


def on_one_scale(expected: Matrix) -> Matrix:
    """Burdens as the service takes them: costs relative to a typical request's at the dearest."""
    top = float(expected.mean(axis=0).max()) if expected.size else 0.0
    return expected / top if top > 0 else np.zeros_like(expected)


def always_cheapest(held: PriorEstimates, truth: Truth) -> PolicyRun:
    """The least mean cost beforehand; among equals the best mean score beforehand."""
    choices = choose_many(held.mean_quality, held.mean_cost, np.inf)
    return PolicyRun("always-cheapest", common(held, choices), *take(truth, choices))


def always_best(held: PriorEstimates, truth: Truth) -> PolicyRun:
    """The best mean score in training."""
    choices = choose_many(held.mean_quality, held.mean_cost, 0.0)
    return PolicyRun("always-best", common(held, choices), *take(truth, choices))


def best_on_test(held: PriorEstimates, truth: Truth) -> PolicyRun:
    """The single target that scores best on the very rows evaluated: a reference, not a policy."""
    best = int(truth.score.mean(axis=0).argmax())
    choices = np.full(len(truth.score), best, np.int64)
    played = take(truth, choices)
    return PolicyRun("best on test", held.targets[best], *played, sees_test=True)


def random(held: PriorEstimates, truth: Truth) -> PolicyRun:
    """Every target equally often, in expectation."""
    known = float(truth.coverage.mean())
    return PolicyRun(
        "random",
        f"{len(held.targets)} targets",
        truth.score.mean(axis=1),
        truth.cost.mean(axis=1),
        known,
    )


_CODE = compile_pattern(
    r"```|\bdef \w+\(|\bclass \w+|\bassert |;\s*$|\bSELECT\b.+\bFROM\b", multiline=True
)
_MATHS = compile_pattern(r"\\\w+\{|[=^√∫∑≤≥]|\d\s*[+*/×÷-]\s*\d|\d%")
_NUMBER = compile_pattern(r"\d+(?:\.\d+)?")
_STEPS = compile_pattern(
    r"\b(how many|how much|calculate|prove|derive|explain why|step by step)\b", ignore_case=True
)
HARD_WORDS, EASY_WORDS = 120, 30


def hardness(prompt: str) -> int:
    """0 easy, 1 middling, 2 hard, by rules anyone can check.

    Hard: over 120 words, code, or two of {a formula, a question of several steps, four numbers}.
    Easy: at most 30 words and none of these. Everything else is middling.
    """
    words = len(prompt.split())
    signs = [
        _MATHS.search(prompt) is not None,
        _STEPS.search(prompt) is not None,
        len(_NUMBER.findall(prompt)) >= 4,
    ]
    if words > HARD_WORDS or _CODE.search(prompt) or sum(signs) >= 2:
        return 2
    return 0 if words <= EASY_WORDS and not any(signs) else 1


def rules(held: PriorEstimates, truth: Truth, prompts: Sequence[str]) -> PolicyRun:
    """Easy to the first, hard to the last target of the ladder, the rest to its middle."""
    levels = [hardness(prompt) for prompt in prompts]
    choices = np.zeros(len(prompts), np.int64)
    for number, level in enumerate(levels):
        steps = ladder(held.mean_quality[number], held.mean_cost[number])
        choices[number] = steps[round(level / 2 * (len(steps) - 1))]
    counts = [levels.count(level) for level in (0, 1, 2)]
    detail = f"{counts[0]} easy, {counts[1]} middling, {counts[2]} hard"
    return PolicyRun("rules", detail, *take(truth, choices))


def ladder(quality: NDArray[np.float64], cost: NDArray[np.float64]) -> list[int]:
    """Targets that no cheaper target beats, cheapest first."""
    steps: list[int] = []
    for index in sorted(range(len(quality)), key=lambda i: (cost[i], -quality[i])):
        if not steps or quality[index] > quality[steps[-1]]:
            steps.append(index)
    return steps


def learned(held: PriorEstimates, truth: Truth, name: str) -> PolicyRun:
    """The service's choice at `quality: 0.5`, and the whole curve."""
    quality, expected = held.quality[name], held.expected[name]
    choices = choose_many(quality, on_one_scale(expected), factor(DEFAULT_QUALITY))
    burdens = on_one_scale(expected)
    score = np.empty((len(quality), len(PRICES_OF_BURDEN)))
    cost = np.empty_like(score)
    for column, price in enumerate(PRICES_OF_BURDEN):
        score[:, column], cost[:, column], _ = take(truth, choose_many(quality, burdens, price))
    curve = CostQualityCurve(PRICES_OF_BURDEN, score, cost)
    return PolicyRun(name, f"at quality {DEFAULT_QUALITY}", *take(truth, choices), curve=curve)


def tuned(held: PriorEstimates, truth: Truth, name: str, below: float) -> PolicyRun | None:
    """The dial set beforehand: the cheapest setting that scored no more than `below` under the best
    single target on training rows the estimator had not seen. None where there is no evidence.
    """
    if name not in held.held_out:
        return None
    choices = np.zeros(len(truth.score), np.int64)
    burdens = on_one_scale(held.expected[name])
    answered = np.zeros(len(choices), np.bool_)
    for rows, one in held.held_out[name]:
        scale = on_one_scale(one.expected)
        reference = float(one.outcomes.mean(axis=0).max()) - below
        picked = 0.0
        cheapest = np.inf
        for price in PRICES_OF_BURDEN:
            at = np.arange(len(scale)), choose_many(one.quality, scale, price)
            if one.outcomes[at].mean() >= reference and one.realised[at].mean() < cheapest:
                picked, cheapest = float(price), float(one.realised[at].mean())
        choices[rows] = choose_many(held.quality[name][rows], burdens[rows], picked)
        answered[rows] = True
    if not answered.all():
        return None
    detail = f"{below * 100:.0f} point below the best single" if below else "at the best single"
    title = f"{name}, dial set on train" + (f", −{below * 100:.0f} pt" if below else "")
    return PolicyRun(title, detail, *take(truth, choices))


def plain_cascade(held: PriorEstimates, truth: Truth, accuracy: float) -> PolicyRun:
    """Up the ladder from the cheapest, at most three steps, until the verifier accepts."""
    order = np.zeros((len(truth.score), ATTEMPTS), np.int64)
    for number in range(len(order)):
        steps = ladder(held.mean_quality[number], held.mean_cost[number])
        middle = [steps[len(steps) // 2]] if len(steps) > 2 else []
        picked = [steps[0], *middle, *([steps[-1]] if len(steps) > 1 else [])]
        order[number] = (picked + [-1] * ATTEMPTS)[:ATTEMPTS]
    name, detail = f"cascade {accuracy:.0%}", f"cheapest first, verifier right {accuracy:.0%}"
    return PolicyRun(name, detail, *_cascade(truth, order, accuracy))


def learned_cascade(held: PriorEstimates, truth: Truth, name: str, accuracy: float) -> PolicyRun:
    """The learned choice first; where the verifier rejects it, the best-estimated other target."""
    quality, expected = held.quality[name], held.expected[name]
    burdens = on_one_scale(expected)
    title = f"{name} + cascade {accuracy:.0%}"
    first = choose_many(quality, on_one_scale(expected), factor(DEFAULT_QUALITY))
    default = _cascade(truth, _escalation(quality, first), accuracy)
    score = np.empty((len(quality), len(PRICES_OF_BURDEN)))
    cost = np.empty_like(score)
    for column, price in enumerate(PRICES_OF_BURDEN):
        start = choose_many(quality, burdens, price)
        score[:, column], cost[:, column], _ = _cascade(
            truth, _escalation(quality, start), accuracy
        )
    curve = CostQualityCurve(PRICES_OF_BURDEN, score, cost)
    detail = f"at quality {DEFAULT_QUALITY}, verifier right {accuracy:.0%}"
    return PolicyRun(title, detail, *default, curve=curve)


def _escalation(quality: Matrix, first: Choices) -> Choices:
    """[n, 2]: the first choice, and the best-estimated other (-1 where there is one target)."""
    if quality.shape[1] < 2:
        return first[:, None]
    rest = quality.copy()
    rest[np.arange(len(quality)), first] = -np.inf
    return np.stack([first, rest.argmax(axis=1)], axis=1)


def _cascade(
    truth: Truth, order: Choices, accuracy: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Expected score and cost of trying `order` [n, K] (-1: nothing) until one is accepted.

    A good answer is accepted with probability `accuracy`, another with `1 - accuracy`. The last
    attempt is served whatever the verifier says; rejected attempts are paid for. Every outcome
    must be recorded: a verifier cannot be simulated on answers without a grade.
    """
    rows = np.arange(len(order))
    running = np.ones(len(order))
    score, cost = np.zeros(len(order)), np.zeros(len(order))
    for step in range(order.shape[1]):
        tried = order[:, step] >= 0
        target = np.where(tried, order[:, step], 0)
        more = np.zeros(len(order), np.bool_)
        if step + 1 < order.shape[1]:
            more = order[:, step + 1] >= 0
        good = (truth.score[rows, target] >= GOOD).astype(np.float64)
        passes = np.where(more, accuracy * good + (1 - accuracy) * (1 - good), 1.0)
        served = passes * truth.score[rows, target]
        cost += np.where(tried, running * truth.cost[rows, target], 0.0)
        score += np.where(tried, running * served, 0.0)
        running = np.where(tried, running * (1 - passes), running)
    return score, cost, 1.0


def oracle(held: PriorEstimates, truth: Truth) -> PolicyRun:
    """The best answer, the cheapest of these: it knows every outcome, so all must be recorded."""
    choices = choose_many(truth.score, truth.cost, 0.0)
    return PolicyRun("oracle", "knows every outcome", *take(truth, choices), sees_test=True)


def common(held: PriorEstimates, choices: Choices) -> str:
    """The chosen target's name, or how many there are."""
    distinct = np.unique(choices)
    if len(distinct) == 1:
        return held.targets[int(distinct[0])]
    return " / ".join(held.targets[int(one)] for one in distinct[:3])
