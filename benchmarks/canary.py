"""How often the canary's test finds a loss of ten points, and how often it sees one in nothing.

Run as `python -m benchmarks.canary [RUNS]`. Simulated grades, looked at after each one: the share
of runs that end with "worse" within 500 graded requests of the canary, after how many (median), and
what a test that looks only once, at the end, and errs as often would find. An unchanged catalog is
watched for 2000 graded requests. Exit code 1 where a loss is found in under 95% of runs, or seen in
nothing in over 5%, both by more than chance allows.
"""

from __future__ import annotations

import math
import random
import sys
from statistics import NormalDist, median

from llmrouter.catalog.canary.evidence import CANARY, CURRENT, Arm, judge

RUNS = 400
GRADED = 500
WATCHED = 2000
SHARES = (0.05, 0.1, 0.3, 0.5)
LOSSES = ((0.98, 0.88), (0.9, 0.8), (0.8, 0.7), (0.7, 0.6), (0.6, 0.5), (0.4, 0.3))
SAME = (0.98, 0.9, 0.8, 0.6)


def run(seed: int, rates: tuple[float, float], share: float, graded: int) -> int | None:
    """Graded requests of the canary until "worse", or None."""
    chance = random.Random(seed)
    arms = {CURRENT: Arm(), CANARY: Arm()}
    seen = 0
    while seen < graded:
        name = CANARY if chance.random() < share else CURRENT
        arms[name].grade(float(chance.random() < rates[name == CANARY]))
        if name == CANARY:
            seen += 1
            if judge(arms, share).verdict == "worse":
                return seen
    return None


def looks_once(rates: tuple[float, float], share: float) -> float:
    """The power of a one-sided test at 5% that looks once, after `GRADED` grades."""
    current, canary = rates
    error = current * (1 - current) * share / (1 - share) + canary * (1 - canary)
    z = (current - canary) / math.sqrt(error / GRADED)
    return NormalDist().cdf(z - NormalDist().inv_cdf(0.95))


def main() -> int:
    """Print a table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    slack = 2 * math.sqrt(0.05 * 0.95 / runs)
    failed = False
    print(f"{'current':>8} {'canary':>8} {'share':>6} {'worse':>7} {'after':>6} {'once':>7}")
    for share in SHARES:
        for rates in (*LOSSES, *((one, one) for one in SAME)):
            changed = rates[0] != rates[1]
            graded = GRADED if changed else WATCHED
            ends = [run(seed, rates, share, graded) for seed in range(runs)]
            found = [end for end in ends if end is not None]
            part = len(found) / runs
            after = f"{median(found):.0f}" if found else "-"
            once = looks_once(rates, share) if changed else math.nan
            print(
                f"{rates[0]:8} {rates[1]:8} {share:6} {part:7.1%} {after:>6} {once:7.1%}",
                flush=True,
            )
            if changed and once - 0.02 > 0.95:
                failed |= part < 0.95 - slack
            if not changed:
                failed |= part > 0.05 + slack
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
