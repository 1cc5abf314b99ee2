"""Cascades that start higher: what counts as a sign, how far it goes, and who is kept apart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.catalog import Cascade, Catalog, Sessions
from llmrouter.domain.chat import ANONYMOUS, Caller, ChatRequest, Message, RouterOptions
from llmrouter.routing.escalate import Escalation, is_complaint
from llmrouter.signals.extract import Extractor
from llmrouter.signals.fingerprint import Fingerprinter
from tests.fakes import RecordingObserver, a_catalog, a_request, a_target

EXTRACT = Extractor(Fingerprinter(b"k" * 32))
LADDER = a_catalog(
    a_target("small"), a_target("middle"), a_target("large"),
    cascade=Cascade(order=("small", "middle", "large")),
)  # fmt: skip


@dataclass
class Bench:
    """An escalation with a clock that the test moves."""

    current: Catalog = LADDER
    now: float = 100.0
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.escalation = Escalation(self, self.observer, clock=lambda: self.now, **self.options)

    def step(self, request: ChatRequest, caller: Caller = ANONYMOUS) -> int:
        """Where a cascade for the request would start."""
        return self.escalation(request, EXTRACT.features(request, caller), caller)


def turns(*said: str, session: str | None = None) -> ChatRequest:
    """A conversation of user turns with an answer after each but the last."""
    messages: list[Message] = []
    for text in said:
        messages += [Message("user", text), Message("assistant", "Certainly.")]
    request = a_request(options=RouterOptions(session=session))
    return replace(request, messages=tuple(messages[:-1]))


def test_the_same_turn_again_climbs_one_step_at_a_time() -> None:
    """Each retry within a named session starts one above the last, to the top and no further."""
    bench, request = Bench(), turns("Why?", session="s")
    assert [bench.step(request) for _ in range(5)] == [0, 1, 2, 2, 2]
    assert bench.observer.counts[0] == ("escalations", 1, {"signal": "retry"})


def test_an_ordinary_turn_starts_at_the_bottom_again() -> None:
    """A new question after a retry has done nothing wrong."""
    bench = Bench()
    assert [bench.step(turns("Why?", session="s")) for _ in range(2)] == [0, 1]
    assert bench.step(turns("Why?", "And how?", session="s")) == 0
    assert len(bench.observer.counts) == 1


def test_a_complaint_starts_one_step_above_the_answer_it_is_about() -> None:
    """It is relative to where the turn before started, so complaining twice climbs twice."""
    bench = Bench()
    assert bench.step(turns("Why?", session="s")) == 0
    assert bench.step(turns("Why?", "That's wrong.", session="s")) == 1
    assert bench.step(turns("Why?", "That's wrong.", "No, still wrong!", session="s")) == 2
    assert [signal["signal"] for _, _, signal in bench.observer.counts] == ["complaint"] * 2


def test_a_conversation_shows_a_complaint_by_itself() -> None:
    """Nothing needs to be remembered where the history is in the request."""
    assert Bench().step(turns("Why?", "that is not correct")) == 1


def test_a_conversation_shows_a_repeated_turn_by_itself() -> None:
    """The same words twice in a row are a retry."""
    assert Bench().step(turns("Why?", "Why?")) == 1
    assert Bench().step(turns("Why?", "How?", "Why?")) == 0


def test_a_first_turn_is_nobodys_complaint() -> None:
    """Nothing was answered yet, whatever the words are."""
    assert Bench().step(turns("That's wrong.")) == 0


def test_equal_openings_without_a_session_are_not_one_caller_asking_twice() -> None:
    """Templates and greetings come from everybody."""
    bench = Bench()
    assert [bench.step(turns("Hi")) for _ in range(3)] == [0, 0, 0]
    assert len(bench.escalation) == 0


def test_with_sessions_on_an_unnamed_first_turn_counts() -> None:
    """The operator said that equal openings are one conversation."""
    bench = Bench(current=replace(LADDER, sessions=Sessions(enabled=True)))
    assert [bench.step(turns("Hi")) for _ in range(2)] == [0, 1]


def test_a_tool_result_starts_where_its_turn_did() -> None:
    """It neither escalates nor forgets."""
    bench, request = Bench(), turns("Why?", session="s")
    tooled = replace(
        request,
        messages=(*request.messages, Message("assistant", "", calls_tools=True),
                  Message("tool", "42")),
    )  # fmt: skip
    assert [bench.step(request), bench.step(request)] == [0, 1]
    assert [bench.step(tooled), bench.step(tooled)] == [1, 1]
    assert bench.step(request) == 2


def test_tenants_keys_and_sessions_are_kept_apart() -> None:
    """What one does moves nobody else."""
    bench, request = Bench(), turns("Why?", session="s")
    one, other = Caller("k", tenant="one"), Caller("k", tenant="two")
    assert [bench.step(request, one), bench.step(request, one)] == [0, 1]
    assert bench.step(request, other) == 0
    assert bench.step(request, Caller("j", tenant="one")) == 0
    assert bench.step(turns("Why?", session="t"), one) == 0


def test_a_session_is_forgotten_after_its_time() -> None:
    """A question asked again the next day is a question."""
    bench, request = Bench(options={"ttl_s": 60.0}), turns("Why?", session="s")
    assert bench.step(request) == 0
    bench.now += 60
    assert bench.step(request) == 1
    bench.now += 61
    assert bench.step(request) == 0


def test_memory_is_bounded_and_the_oldest_goes() -> None:
    """A million sessions take the room of a few."""
    bench = Bench(options={"remembered": 3})
    for number in range(10):
        bench.step(turns("Why?", session=f"s{number}"))
    assert len(bench.escalation) == 3
    assert bench.step(turns("Why?", session="s9")) == 1
    assert bench.step(turns("Why?", session="s0")) == 0


def test_it_does_nothing_where_the_catalog_says_so() -> None:
    """`escalate_on_retry: false` is obeyed at once, and nothing is remembered."""
    off = replace(LADDER, cascade=replace(LADDER.cascade, escalate_on_retry=False))
    bench, request = Bench(current=off), turns("Why?", session="s")
    assert [bench.step(request) for _ in range(3)] == [0, 0, 0]
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
def test_any_text_has_a_step(text: str) -> None:
    """No turn can make it fail or leave the ladder."""
    bench, request = Bench(), turns("Why?", text, session="s")
    assert all(0 <= bench.step(request) <= 2 for _ in range(4))
