"""How long does learning hold the event loop? Teaching, fitting, taking over, starting again.

    python -m benchmarks.learning_stalls [--lessons 2500]

A learner runs on a disk store beside a probe that wakes every millisecond. How late it wakes is
told twice: by the clock, which includes whatever else the machine does, and as far as this process
used the CPU meanwhile, in whichever thread: that part is ours. The promise, 5 ms while fitting, is
of the longest of these; it refuses to be an average.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.loop.replay import catalog_of
from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import ChatRequest
from llmrouter.domain.decision import RoutingContext, Source, StageResult
from llmrouter.domain.features import Features, Traits
from llmrouter.evaluation.catalog_diff.replay import SILENCE
from llmrouter.learning.online.online_learner import LearnerOptions, OnlineLearner
from llmrouter.server.worker import SWITCH_S, bound_malloc, settle_garbage_collector
from llmrouter.store.disk import DiskStore

PROMISE_MS = 5.0
TASKS = ("code", "math", "writing", "general")
PRICES = {"small": 0.0001, "middle": 0.0005, "large": 0.002}
WORDS = [a + b for a in ("ri", "sto", "clo", "em", "ma", "vio") for b in ("ver", "ne", "ud", "ple")]


class Probe:
    """Wakes every millisecond and keeps how late it was, in ms: by the clock, by our own CPU."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.ours: list[float] = []

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            before, used = time.perf_counter(), time.process_time()
            await asyncio.sleep(0.001)
            late = (time.perf_counter() - before - 0.001) * 1000
            self.late.append(late)
            self.ours.append(min(late, (time.process_time() - used) * 1000))


class Traffic:
    """Requests of some 1 KB that a learner is taught."""

    def __init__(self) -> None:
        self._catalog: Catalog = catalog_of(PRICES)
        self._dice = random.Random(0)
        self._number = 0

    def screen(self) -> tuple[RoutingContext, StageResult]:
        """Another request, and what the router LLM says of it."""
        self._number += 1
        task = self._dice.choice(TASKS)
        text = f"{task} {self._number} " + " ".join(self._dice.choices(WORDS, k=150))
        features = Features(
            f"{self._number:032d}", "c" * 32, text, "", 250, 500, frozenset(), 1, False, False,
            read_traits=lambda: Traits(task=task),
        )  # fmt: skip
        context = RoutingContext(ChatRequest(b"", {}, ()), features, self._catalog, tuple(PRICES))
        target = "small" if task in ("code", "math") else "large"
        return context, StageResult(target, Source.LLM, "said so")

    async def teach(self, learner: OnlineLearner, count: int) -> float:
        """Lessons, with others' turns between; the longest of one, in ms."""
        longest = 0.0
        for _ in range(count):
            context, verdict = self.screen()
            proposal = learner.propose(context)
            started = time.thread_time()
            learner.observe_label(context, proposal, verdict)
            longest = max(longest, (time.thread_time() - started) * 1000)
            await asyncio.sleep(0.002)
        return longest


async def phase(name: str, work: Callable[[], Awaitable[Any]]) -> float:
    """Does `work` beside the probe and prints the longest stall, in ms."""
    probe = Probe()
    watching = asyncio.ensure_future(probe.watch())
    await asyncio.sleep(0.01)
    started = time.perf_counter()
    await work()
    took = time.perf_counter() - started
    watching.cancel()
    ours = sorted(probe.ours)
    print(
        f"{name:<40} {took:>7.1f} s {ours[int(0.99 * len(ours))]:>9.2f} {ours[-1]:>8.2f} "
        f"{max(probe.late):>9.2f}"
    )
    return ours[-1]


async def measure(lessons: int, folder: Path) -> None:
    """Every phase, on one store."""
    options = LearnerOptions(first_fit=lessons, refresh=10**6)
    store, traffic = DiskStore(folder), Traffic()
    learner = OnlineLearner(store, SILENCE, lambda: 0.95, options)
    print(
        f"{'phase, ms the loop was held':<40} {'took':>9} {'ours p99':>9} {'max':>8} {'clock':>9}"
    )
    await phase("nothing to do", lambda: asyncio.sleep(3))
    running = asyncio.ensure_future(learner.run())
    steps: list[float] = []

    async def teach(count: int) -> None:
        steps.append(await traffic.teach(learner, count))

    async def served() -> None:
        while learner.propose(traffic.screen()[0]) is None:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)  # the snapshot goes out

    await phase("teaching, and writing down", lambda: teach(lessons - 5))
    await teach(10)
    fitting = await phase("fitting, swapping, publishing", served)
    await phase("teaching a model", lambda: teach(300))
    await phase("trust computed anew", lambda: learner.refresh_trust())
    print(f"{'the longest step of one lesson':<40} {'':>9} {'':>9} {max(steps):>8.2f}")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    again = OnlineLearner(store, SILENCE, lambda: 0.95, options)
    starting = await phase("starting again: model and lessons", again.load)
    await store.close()
    kept = "kept" if max(fitting, starting) <= PROMISE_MS else "NOT KEPT"
    print(f"fitting and starting never stall the loop by more than {PROMISE_MS:g} ms: {kept}")


def main() -> None:
    """Runs and prints; always exit code 0: it measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lessons", type=int, default=2500)
    given = parser.parse_args()
    bound_malloc()  # this and the rest as a worker has it
    sys.setswitchinterval(SWITCH_S)
    settle_garbage_collector()
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(measure(given.lessons, Path(folder)))


if __name__ == "__main__":
    main()
