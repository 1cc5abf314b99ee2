"""How often the canary's test finds a loss of ten points, and how often it sees one in nothing.

Run as `python -m benchmarks.canary`. Simulated grades, looked at after each: the share of runs that
end with "worse" within 500 graded requests of the canary, and after how many (median).
"""

from __future__ import annotations

import random
from statistics import median

from llmrouter.catalog.canary.evidence import CANARY, CURRENT, Arm, judge

RUNS = 100
GRADED = 500


def run(seed: int, current: float, canary: float, share: float) -> int | None:
    """Graded requests of the canary until "worse", or None."""
    chance = random.Random(seed)
    arms = {CURRENT: Arm(), CANARY: Arm()}
    seen = 0
    while seen < GRADED:
        name = CANARY if chance.random() < share else CURRENT
        rate = canary if name == CANARY else current
        arms[name].grade(float(chance.random() < rate))
        if name == CANARY:
            seen += 1
            if judge(arms, share).verdict == "worse":
                return seen
    return None


def main() -> None:
    """Print a table."""
    print(f"{'current':>8} {'canary':>8} {'share':>6} {'worse':>7} {'after':>6}")
    for share in (0.1, 0.5):
        for current, canary in ((0.9, 0.8), (0.8, 0.7), (0.7, 0.6), (0.8, 0.8)):
            ends = [run(seed, current, canary, share) for seed in range(RUNS)]
            found = [end for end in ends if end is not None]
            after = f"{median(found):.0f}" if found else "-"
            print(f"{current:8} {canary:8} {share:6} {len(found) / RUNS:7.0%} {after:>6}")


if __name__ == "__main__":
    main()
