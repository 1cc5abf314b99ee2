"""How long a decision's story and a page of decisions take with 100,000 decisions recorded.

python -m benchmarks.story [--decisions 100000]: fills a store in a temporary folder with executed
and rated decisions of eleven targets, then reads as `/decisions/{id}` and `/decisions` do, from a
worker that has made none of them.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from llmrouter.domain.chat import Caller
from llmrouter.domain.completion import Attempt, Completion
from llmrouter.domain.decision import Alternative, Feedback, Source
from llmrouter.domain.decision_query import DecisionQuery
from llmrouter.domain.decision_story import explained
from llmrouter.domain.serialization import decode_decision, encode_decision
from llmrouter.journal.journal import Journal, JournalOptions
from llmrouter.journal.stories import Stories
from llmrouter.observation.decision_pages import DecisionPages
from llmrouter.store.decision_log import DecisionLog
from llmrouter.store.disk import DiskStore
from tests.fakes import a_decision
from tests.routing.asking import a_question

ADMIN = Caller("admin", admin=True)
TARGETS = [f"target-{n}" for n in range(11)]
TASKS = ("code", "chat", "math", "summarization", "translation")
STEP = 1_000
TIMES = 100


class Worker:
    """What one worker reads and writes."""

    def __init__(self, store: DiskStore) -> None:
        self.journal = Journal(store, JournalOptions(record_prompts=True))
        self.log = DecisionLog(store, encode_decision, decode_decision)
        self.stories = Stories(store, record_prompts=True)
        self.pages = DecisionPages(self.journal, self.log)

    async def flush(self) -> None:
        """Everything to the store."""
        await asyncio.gather(self.journal.flush(), self.log.flush(), self.stories.flush())

    async def story(self, name: str) -> dict[str, Any]:
        """As `GET /decisions/{id}`."""
        decision = await self.log.find(name, None)
        assert decision is not None
        return {**explained(decision), **await self.stories.find(name, ADMIN)}


async def filled(store: DiskStore, count: int) -> list[str]:
    """A store with so many decisions; their ids."""
    worker, names, question = Worker(store), [], a_question()
    for number in range(count):
        target = random.choice(TARGETS)
        alternatives = tuple(Alternative(t, random.random(), random.random()) for t in TARGETS)
        decision = a_decision(
            target,
            decision_id=worker.log.new_id(),
            created_at=time.time(),
            task=TASKS[number % len(TASKS)],
            source=random.choice(list(Source)),
            alternatives=alternatives,
        )
        attempt = Attempt(target, "ok" if number % 50 else "failed", "", 120.0, 0.001)
        worker.log.remember(decision)
        for keeper in (worker.journal, worker.stories):
            keeper.decided(decision, question)
            keeper.completed(decision, Completion(target, (attempt,), 0.001, 130.0, "stop"))
            keeper.observe_feedback(decision, Feedback(decision.decision_id, 0.5))
        names.append(decision.decision_id)
        if number % STEP == STEP - 1:
            await worker.flush()
    await worker.flush()
    return names


async def timed(label: str, times: int, work: Callable[[], Awaitable[Any]]) -> None:
    """Print how long a piece of work takes."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        await work()
        took.append((time.perf_counter() - start) * 1000)
    worst = sorted(took)[int(0.99 * (len(took) - 1))]
    print(f"{label:44} median {statistics.median(took):8.2f} ms   99% {worst:8.2f} ms")


async def measure(count: int) -> None:
    """Fill a store, then read from it."""
    with tempfile.TemporaryDirectory() as folder:
        store = DiskStore(Path(folder) / "store")
        start = time.perf_counter()
        names = await filled(store, count)
        print(f"{count:,} decisions recorded in {time.perf_counter() - start:.0f} s")
        reader = Worker(store)
        await timed("a story", TIMES, lambda: reader.story(random.choice(names)))

        def page(**query: Any) -> Callable[[], Awaitable[Any]]:
            return lambda: reader.pages.page(DecisionQuery(brief=True, **query), ADMIN)

        await timed("the newest page", TIMES, page())
        await timed("a page by target and task", 20, page(target="target-3", task="code"))
        await timed("a page of failed ones", 10, page(outcome="failed"))
        await timed("a page far back", 5, page(before=names[len(names) // 2]))
        await timed("no such target among all", 3, page(target="nobody"))
        await timed("no such text among all", 3, page(text="nowhere to be found"))
        await timed(
            "what the router expects (frontier)", 10, lambda: reader.pages.newest(500, ADMIN)
        )
        await store.close()


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=100_000)
    asyncio.run(measure(parser.parse_args(arguments).decisions))


if __name__ == "__main__":
    main()
