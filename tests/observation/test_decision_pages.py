"""Past decisions, page by page, whichever worker made them."""

from __future__ import annotations

import time
from typing import Any

from llmrouter.domain.chat import Caller
from llmrouter.domain.completion import Attempt, Completion
from llmrouter.domain.decision import Feedback, Source
from llmrouter.domain.decision_query import DecisionQuery
from llmrouter.domain.serialization import decode_decision, encode_decision
from llmrouter.journal.journal import Journal, JournalOptions
from llmrouter.journal.stories import Stories
from llmrouter.observation.decision_pages import DecisionPages
from llmrouter.store.decision_log import DecisionLog
from llmrouter.store.memory import MemoryStore
from tests.fakes import a_decision
from tests.routing.asking import a_question

ADMIN = Caller("admin", admin=True)


class Worker:
    """One worker's journal, decision log and stories over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self.journal = Journal(store, JournalOptions(record_prompts=True))
        self.log = DecisionLog(store, encode_decision, decode_decision)
        self.stories = Stories(store, record_prompts=True)
        self.pages = DecisionPages(self.journal, self.log)

    def decide(self, target: str = "small", outcome: str | None = None, **over: Any) -> str:
        """A decision, and its execution where there is an outcome."""
        name = self.log.new_id()
        decision = a_decision(target, decision_id=name, created_at=time.time(), **over)
        self.log.remember(decision)
        self.journal.decided(decision, a_question())
        self.stories.decided(decision, a_question())
        if outcome is not None:
            attempts = (Attempt(target, outcome, "", 5.0, 0.5),)
            completion = Completion(target, attempts, 0.5, 5.0, "stop")
            self.journal.completed(decision, completion)
            self.stories.completed(decision, completion)
        return name

    async def write(self) -> None:
        """Everything to the store."""
        await self.journal.flush()
        await self.log.flush()
        await self.stories.flush()


async def ids(worker: Worker, caller: Caller = ADMIN, **over: Any) -> list[str]:
    """The ids of one page."""
    page = await worker.pages.page(DecisionQuery(**over), caller)
    return [one["decision_id"] for one in page["decisions"]]


async def test_pages_lead_through_the_decisions_of_all_workers() -> None:
    """Newest first, each once, the same for a worker that has made none."""
    store = MemoryStore()
    workers = [Worker(store), Worker(store)]
    made = []
    for number in range(25):
        made.append(workers[number % 2].decide())
        await workers[number % 2].write()
    reader = Worker(store)
    seen: list[str] = []
    before = None
    for _ in range(5):
        page = await reader.pages.page(DecisionQuery(limit=10, before=before), ADMIN)
        seen += [one["decision_id"] for one in page["decisions"]]
        before = page["next"]
        if before is None:
            break
    assert seen == made[::-1]
    assert page["decisions"][0]["target"] == "small"
    assert page["decisions"][0]["stages"] is not None


async def test_filters_narrow_a_page() -> None:
    """By target, source, outcome and recorded text; together they all hold."""
    worker = Worker(MemoryStore())
    ok = worker.decide("large", "ok")
    failed = worker.decide("small", "failed")
    cached = worker.decide("small", source=Source.CACHE)
    await worker.write()
    assert await ids(worker, target="large") == [ok]
    assert await ids(worker, outcome="failed") == [failed]
    assert await ids(worker, outcome="decided", source="cache") == [cached]
    assert await ids(worker, target="nobody") == []
    text = (await worker.journal.tail(100))[0]["prompt"]
    assert len(await ids(worker, text=text[:5].upper())) == 3
    assert await ids(worker, text="not in there") == []


async def test_a_tenant_sees_its_own_decisions() -> None:
    """The admin key sees all."""
    worker = Worker(MemoryStore())
    mine, theirs = worker.decide(tenant="acme"), worker.decide(tenant="other")
    await worker.write()
    assert await ids(worker, Caller("a", tenant="acme")) == [mine]
    assert await ids(worker) == [theirs, mine]


async def test_a_page_and_a_story_say_what_came_of_a_decision() -> None:
    """Outcome, cost and rating beside the decision; every attempt and rating in its story."""
    worker = Worker(MemoryStore())
    name = worker.decide("large", "ok")
    decision = await worker.log.find(name, None)
    assert decision is not None
    rating = Feedback(name, -0.5, created_at=1.0)
    worker.journal.observe_feedback(decision, rating)
    worker.stories.observe_feedback(decision, rating)
    await worker.write()
    page = await worker.pages.page(DecisionQuery(), ADMIN)
    shown = page["decisions"][0]
    assert (shown["outcome"], shown["cost_usd"], shown["score"]) == ("ok", 0.5, -0.5)
    story = await worker.stories.find(name, ADMIN)
    assert story["execution"]["attempts"][0]["target"] == "large"
    assert [one["score"] for one in story["feedback"]] == [-0.5]
    worker.stories.observe_feedback(decision, Feedback(name, 1.0, caller="bob"))
    assert [one["score"] for one in (await worker.stories.find(name, ADMIN))["feedback"]] == [
        -0.5,
        1.0,
    ]
    assert await worker.stories.find("dec_000000000000_1", ADMIN) == {
        "prompt": None,
        "execution": None,
        "feedback": [],
    }


async def test_a_row_is_brief_and_shows_recorded_text_to_its_own_key() -> None:
    """Neither another key's text nor a hit for it; the admin key reads everything."""
    worker = Worker(MemoryStore())
    name = worker.decide("large", "ok")
    await worker.write()
    page = await worker.pages.page(DecisionQuery(brief=True), Caller("anonymous"))
    (row,) = page["decisions"]
    assert (row["decision_id"], row["outcome"], row["cost_usd"]) == (name, "ok", 0.5)
    assert row["excerpt"]
    assert "stages" not in row
    stranger = Caller("bob")
    page = await worker.pages.page(DecisionQuery(brief=True), stranger)
    assert page["decisions"][0]["excerpt"] is None
    assert await ids(worker, stranger, text=row["excerpt"][:5]) == []
    assert (await worker.stories.find(name, stranger))["prompt"] is None
    assert row["excerpt"][:5] in (await worker.stories.find(name, ADMIN))["prompt"]


async def test_a_rating_that_was_written_before_its_decision_is_shown() -> None:
    """Ratings are written at once, decisions some moments later."""
    store = MemoryStore()
    first, second = Worker(store), Worker(store)
    name = first.decide("large", "ok")
    decision = await first.log.find(name, None)
    assert decision is not None
    await second.journal.keep_feedback(decision, Feedback(name, 0.5))
    await first.write()
    page = await second.pages.page(DecisionQuery(limit=5), ADMIN)
    assert page["decisions"][0]["score"] == 0.5


async def test_a_page_reads_no_more_of_the_journal_than_it_needs() -> None:
    """The newest batches hold the first page; a rare decision far behind is found all the same."""
    worker = Worker(MemoryStore())
    rare = worker.decide("large")
    for _ in range(30):
        worker.decide()
        await worker.journal.flush()
    reads: list[tuple[int, int]] = []
    tail = worker.journal._store.tail

    async def counted(log: str, last: int, skip: int = 0) -> list[bytes]:
        reads.append((last, skip))
        return await tail(log, last, skip)

    worker.journal._store.tail = counted  # type: ignore[method-assign]
    assert len(await ids(worker, limit=2, brief=True)) == 2
    assert sum(last for last, _ in reads) < 10
    assert await ids(worker, target="large", brief=True) == [rare]
