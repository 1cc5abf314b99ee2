"""Times one learned decision: encode a 1 KB prompt, estimate every target, choose one.

Why it exists: the budget is 0.3 ms of CPU at the median with 50,000 remembered requests, and a
budget that is not measured is not kept. It refuses to guess: the model is fitted and its memory
filled before the clock starts, on generated text, so it runs anywhere.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from dataclasses import dataclass

import numpy as np

from llmrouter.domain.utility import choose, penalty
from llmrouter.learning.model.quality_model import Example, QualityModel
from llmrouter.learning.model.training import FitSettings, fit
from llmrouter.server.worker import bound_malloc

TARGETS = tuple(f"target-{number}" for number in range(12))
SYLLABLES = ["ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "su", "ta", "ve", "wi", "xo"]


@dataclass(frozen=True, slots=True)
class Timings:
    """Microseconds of one step over all calls."""

    name: str
    cpu: list[float]
    wall: list[float]


def prompt(random_: random.Random, size: int) -> str:
    """About `size` bytes of invented words, numbers and option lines."""
    words: list[str] = []
    length = 0
    while length < size:
        word = "".join(random_.choices(SYLLABLES, k=random_.choice((1, 2, 2, 3, 4))))
        word = random_.choice(
            (word, word, word, word + ",", str(random_.randrange(1000)), word + ".\nA.")
        )
        words.append(word)
        length += len(word) + 1
    return " ".join(words)[:size]


def fitted(remembered: int, seed: int) -> QualityModel:
    """A model of 12 targets whose memory holds `remembered` requests."""
    random_ = random.Random(seed)
    examples = [
        Example(
            prompt(random_, random_.randrange(60, 1200)), {t: random_.random() for t in TARGETS}
        )
        for _ in range(4000)
    ]
    model = fit(examples, FitSettings(folds=2), seed=seed).model
    while len(model.memory) < remembered:
        text = prompt(random_, random_.randrange(60, 1200))
        model.remember(model.encode(text), {random_.choice(TARGETS): random_.random()})
    return model


def measure(model: QualityModel, calls: int, seed: int) -> list[Timings]:
    """Times each step of a decision, `calls` times, on prompts the model never saw."""
    random_ = random.Random(seed + 1)
    costs = np.geomspace(1e-5, 1e-2, len(TARGETS))
    steps = [Timings(name, [], []) for name in ("encode", "estimate", "choose", "decision")]
    for _ in range(calls):
        text = prompt(random_, 1024)
        marks = [(time.process_time_ns(), time.perf_counter_ns())]
        encoded = model.encode(text)
        marks.append((time.process_time_ns(), time.perf_counter_ns()))
        estimates = model.estimate(encoded, TARGETS)
        marks.append((time.process_time_ns(), time.perf_counter_ns()))
        choose(estimates.quality, penalty(costs), 0.5)
        marks.append((time.process_time_ns(), time.perf_counter_ns()))
        spans = [*itertools.pairwise(marks), (marks[0], marks[-1])]
        for step, (start, end) in zip(steps, spans, strict=True):
            step.cpu.append((end[0] - start[0]) / 1000)
            step.wall.append((end[1] - start[1]) / 1000)
    return steps


def main() -> None:
    """Prints the table; exit code 1 where the median decision is over the budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--remembered", type=int, default=50_000)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget-us", type=float, default=300.0)
    arguments = parser.parse_args()
    bound_malloc()  # as a worker has it: a decision that allocates large blocks pays for them
    model = fitted(arguments.remembered, arguments.seed)
    measure(model, 100, arguments.seed)
    steps = measure(model, arguments.calls, arguments.seed)
    print(f"{len(model.memory):,} remembered, {len(TARGETS)} targets, 1 KB prompts, µs")
    print(f"{'step':<10}{'cpu p50':>10}{'cpu p95':>10}{'wall p50':>10}{'wall p95':>10}")
    for step in steps:
        cells = [np.percentile(v, p) for v in (step.cpu, step.wall) for p in (50, 95)]
        print(f"{step.name:<10}" + "".join(f"{cell:>10.0f}" for cell in cells))
    kept = float(np.percentile(steps[-1].cpu, 50)) <= arguments.budget_us
    print(f"budget {arguments.budget_us:.0f} µs at p50: {'kept' if kept else 'MISSED'}")
    raise SystemExit(0 if kept else 1)


if __name__ == "__main__":
    main()
