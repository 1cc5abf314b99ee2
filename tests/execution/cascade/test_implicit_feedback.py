"""Cascades that start higher: what counts as a sign, how far it goes, and who is kept apart."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.catalog import Cascade, Catalog, Sessions
from llmrouter.domain.chat import ANONYMOUS, Caller, ChatRequest, Message, RouterOptions
from llmrouter.errors import StoreFailed
from llmrouter.execution.cascade.implicit_feedback import (
    CascadeState,
    Escalation,
    EscalationOptions,
    ImplicitFeedback,
    is_complaint,
)
from llmrouter.features.extractor import Extractor
from llmrouter.features.fingerprint import Fingerprinter
from llmrouter.store.memory import MemoryStore
from llmrouter.util.tasks import Background
from tests.fakes import RecordingObserver, a_catalog, a_request, a_target

EXTRACT = Extractor(Fingerprinter(b"k" * 32))
LADDER = a_catalog(
    a_target("small"), a_target("middle"), a_target("large"),
    cascade=Cascade(order=("small", "middle", "large")),
)  # fmt: skip


@dataclass
class Bench:
    """An escalation with a clock that the test moves; another with the same store is a replica."""

    current: Catalog = LADDER
    now: float = 100.0
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    store: MemoryStore = field(default_factory=MemoryStore)
    options: dict[str, Any] = field(default_factory=dict)
    heard: list[ImplicitFeedback] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.background = Background()
        options = EscalationOptions(clock=lambda: self.now, heard=self.heard.append, **self.options)
        self.escalation = Escalation(self, self.observer, self.store, self.background, options)

    async def step(
        self, request: ChatRequest, caller: Caller = ANONYMOUS, decision_id: str = "d"
    ) -> int:
        """Where a cascade for the request would start, once it is written down."""
        features = EXTRACT.features(request, caller)
        step = await self.escalation(request, features, caller, decision_id)
        await self.background.close()
        return step

    async def steps(self, *requests: ChatRequest, caller: Caller = ANONYMOUS) -> list[int]:
        """One after the other."""
        return [await self.step(request, caller) for request in requests]


class Down(MemoryStore):
    """A store that fails at everything."""

    async def get(self, key: str) -> bytes | None:
        """No."""
        raise StoreFailed("down")

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """No."""
        raise StoreFailed("down")


def turns(*said: str, session: str | None = None) -> ChatRequest:
    """A conversation of user turns with an answer after each but the last."""
    messages: list[Message] = []
    for text in said:
        messages += [Message("user", text), Message("assistant", "Certainly.")]
    request = a_request(options=RouterOptions(session=session))
    return replace(request, messages=tuple(messages[:-1]))


async def test_the_same_turn_again_climbs_one_step_at_a_time() -> None:
    """Each retry within a named session starts one above the last, to the top and no further."""
    bench, request = Bench(), turns("Why?", session="s")
    assert await bench.steps(*[request] * 5) == [0, 1, 2, 2, 2]
    assert bench.observer.counts[0] == ("escalations", 1, {"signal": "retry"})


async def test_an_ordinary_turn_starts_at_the_bottom_again() -> None:
    """A new question after a retry has done nothing wrong."""
    bench = Bench()
    assert await bench.steps(*[turns("Why?", session="s")] * 2) == [0, 1]
    assert await bench.step(turns("Why?", "And how?", session="s")) == 0
    assert len(bench.observer.counts) == 1


async def test_a_complaint_starts_one_step_above_the_answer_it_is_about() -> None:
    """It is relative to where the turn before started, so complaining twice climbs twice."""
    bench = Bench()
    assert await bench.step(turns("Why?", session="s")) == 0
    assert await bench.step(turns("Why?", "That's wrong.", session="s")) == 1
    assert await bench.step(turns("Why?", "That's wrong.", "No, still wrong!", session="s")) == 2
    assert [signal["signal"] for _, _, signal in bench.observer.counts] == ["complaint"] * 2


async def test_a_conversation_shows_a_complaint_by_itself() -> None:
    """Nothing needs to be remembered where the history is in the request."""
    assert await Bench().step(turns("Why?", "that is not correct")) == 1


async def test_a_conversation_shows_a_repeated_turn_by_itself() -> None:
    """The same words twice in a row are a retry."""
    assert await Bench().step(turns("Why?", "Why?")) == 1
    assert await Bench().step(turns("Why?", "How?", "Why?")) == 0


async def test_a_first_turn_is_nobodys_complaint() -> None:
    """Nothing was answered yet, whatever the words are."""
    assert await Bench().step(turns("That's wrong.")) == 0


async def test_equal_openings_without_a_session_are_not_one_caller_asking_twice() -> None:
    """Templates and greetings come from everybody."""
    bench = Bench()
    assert await bench.steps(*[turns("Hi")] * 3) == [0, 0, 0]
    assert len(bench.escalation) == 0


async def test_with_sessions_on_an_unnamed_first_turn_counts() -> None:
    """The operator said that equal openings are one conversation."""
    bench = Bench(current=replace(LADDER, sessions=Sessions(enabled=True)))
    assert await bench.steps(*[turns("Hi")] * 2) == [0, 1]


async def test_a_tool_result_starts_where_its_turn_did() -> None:
    """It neither escalates nor forgets."""
    bench, request = Bench(), turns("Why?", session="s")
    tooled = replace(
        request,
        messages=(*request.messages, Message("assistant", "", calls_tools=True),
                  Message("tool", "42")),
    )  # fmt: skip
    assert [await bench.step(request), await bench.step(request)] == [0, 1]
    assert [await bench.step(tooled), await bench.step(tooled)] == [1, 1]
    assert await bench.step(request) == 2


async def test_tenants_keys_and_sessions_are_kept_apart() -> None:
    """What one does moves nobody else."""
    bench, request = Bench(), turns("Why?", session="s")
    one, other = Caller("k", tenant="one"), Caller("k", tenant="two")
    assert [await bench.step(request, one), await bench.step(request, one)] == [0, 1]
    assert await bench.step(request, other) == 0
    assert await bench.step(request, Caller("j", tenant="one")) == 0
    assert await bench.step(turns("Why?", session="t"), one) == 0


async def test_a_session_is_forgotten_after_its_time() -> None:
    """A question asked again the next day is a question."""
    bench, request = Bench(options={"ttl_s": 60.0}), turns("Why?", session="s")
    assert await bench.step(request) == 0
    bench.now += 60
    assert await bench.step(request) == 1
    bench.now += 61
    assert await bench.step(request) == 0


async def test_memory_is_bounded_and_the_oldest_goes() -> None:
    """A million sessions take the room of a few."""
    bench = Bench(options={"remembered": 3}, store=Down())
    for number in range(10):
        await bench.step(turns("Why?", session=f"s{number}"))
    assert len(bench.escalation) == 3
    assert await bench.step(turns("Why?", session="s9")) == 1
    assert await bench.step(turns("Why?", session="s0")) == 0


async def test_it_does_nothing_where_the_catalog_says_so() -> None:
    """`escalate_on_retry: false` is obeyed at once, and nothing is remembered."""
    off = replace(LADDER, cascade=replace(LADDER.cascade, escalate_on_retry=False))
    bench, request = Bench(current=off), turns("Why?", session="s")
    assert await bench.steps(*[request] * 3) == [0, 0, 0]
    assert len(bench.escalation) == 0


@pytest.mark.parametrize(
    "text",
    [
        "That's wrong", "thats wrong.", "No, that is incorrect!", "this is still wrong",
        "Wrong!", "wrong", "Your answer is not correct, 7*8 is 56", "it’s not what I asked for",
        "you're wrong", "That doesn't work", "It still didn't work.", "Try again",
        "please try again",
        "Sorry, but that's not right.", "Das ist falsch.", "c'est faux", "Eso está mal",
    ],
)  # fmt: skip
def test_complaints(text: str) -> None:
    """What people write when the answer was not good enough."""
    assert is_complaint(text)


@pytest.mark.parametrize(
    "text",
    [
        "Thanks, that's right!", "What is wrong with my code?", "That is great", "no", "No, thanks",
        "Write a story that starts with: that's wrong", "wrong turn ahead: a poem, please",
        "Is that wrong?", "It is not raining. What now?", "yes, go on", "",
    ],
)  # fmt: skip
def test_what_is_no_complaint(text: str) -> None:
    """Ordinary turns, also those with the words in them."""
    assert not is_complaint(text)


@given(st.text(max_size=400))
async def test_any_text_has_a_step(text: str) -> None:
    """No turn can make it fail or leave the ladder."""
    bench, request = Bench(), turns("Why?", text, session="s")
    assert set(await bench.steps(*[request] * 4)) <= {0, 1, 2}


async def test_replicas_know_of_each_others_answers() -> None:
    """The retry reaches another worker than the question did, and the climb goes on."""
    here = Bench()
    there = Bench(store=here.store)
    request = turns("Why?", session="s")
    assert [await b.step(request) for b in (here, there, here, there)] == [0, 1, 2, 2]
    assert await there.step(request, Caller("k", tenant="other")) == 0


class Stuck(MemoryStore):
    """A store that never answers a read."""

    async def get(self, key: str) -> bytes | None:
        """Not today."""
        await asyncio.Event().wait()
        return None


@pytest.mark.parametrize("store", [Down(), Stuck()], ids=["down", "stuck"])
async def test_a_store_that_fails_leaves_the_memory_of_the_process(store: MemoryStore) -> None:
    """Retries still climb here, and no request fails or waits for long because of it."""
    bench = Bench(store=store, options={"read_s": 0.01})
    assert await bench.steps(*[turns("Why?", session="s")] * 3) == [0, 1, 2]


@pytest.mark.parametrize("jump", [-7 * 86400.0, 7 * 86400.0])
async def test_a_clock_that_jumps_only_forgets(jump: float) -> None:
    """Forward or back by a week: the session begins anew, and is remembered again from then on."""
    bench, request = Bench(), turns("Why?", session="s")
    assert await bench.steps(request, request) == [0, 1]
    bench.now += jump
    assert await bench.steps(request, request) == [0, 1]


async def test_what_is_stored_names_nobody_and_holds_no_words() -> None:
    """Hashes and numbers, under a hash."""
    bench = Bench()
    await bench.step(turns("swordfish", session="diary"), Caller("alice", tenant="acme"))
    ((key, (value, _)),) = bench.store._entries.items()
    assert key.startswith("escalation:")
    for word in ("swordfish", "diary", "alice", "acme"):
        assert word not in key
        assert word.encode() not in value


@pytest.mark.parametrize("value", [b"", b"[]", b"7", b'[2,"x",1,1,1,"d"]', b'[1,"x","y",1,1,"d"]'])
async def test_a_foreign_value_is_no_session(value: bytes) -> None:
    """What another version or hand wrote is read as nothing."""
    assert CascadeState.decode(value) is None


async def test_signs_are_told_with_the_decision_they_are_about() -> None:
    """Whoever learns from outcomes hears that the answer of that decision was not good enough."""
    bench, app = Bench(), Caller("app")
    await bench.step(turns("Why?", session="s"), app, "first")
    await bench.step(turns("Why?", session="s"), app, "second")
    await bench.step(turns("Why?", "That's wrong.", session="s"), app, "third")
    await bench.step(turns("Why?", "That's wrong.", "Thanks.", session="s"), app, "fourth")
    await bench.step(turns("How?", "How?"), app, "fifth")
    assert bench.heard == [
        ImplicitFeedback("retry", "first", app),
        ImplicitFeedback("complaint", "second", app),
        ImplicitFeedback("retry", "", app),
    ]
