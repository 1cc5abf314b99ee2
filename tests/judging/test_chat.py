"""One token over letters: the scale, targets' profiles, and what is counted as an answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.completion import Usage
from llmrouter.domain.interfaces import TokenAnswer
from llmrouter.domain.judgement import Judgement, text_key
from llmrouter.errors import RouterLLMFailed
from llmrouter.judging.chat import LABELS, Chat, chance, label_shares
from llmrouter.store.memory import MemoryStore
from tests.fakes import a_catalog, a_target
from tests.judging.asking import Scripted, judged, to_judge

EASY = {"A": 0.8, "B": 0.1, "The": 0.1}
ABLE = {" E": 0.7, "D": 0.2, "\n": 0.1}


def token(**probabilities: float) -> TokenAnswer:
    """A distribution of the next token."""
    return TokenAnswer(probabilities, Usage(50, 1), "judge")


async def test_a_request_costs_one_token_once_its_targets_are_known() -> None:
    """The first request of a kind of work asks about each target text, the next about itself."""
    protocol, model = Chat(), Scripted(EASY)
    judgement, _ = await judged(protocol, model)
    assert len(model.messages) == 3
    assert len(judgement.probabilities) == 2
    await judged(protocol, model)
    assert len(model.messages) == 4


async def test_what_comes_before_the_request_is_the_same_for_every_request() -> None:
    """The system message is one string, whatever is asked and whatever targets there are."""
    model = Scripted(EASY)
    await judged("chat", model)
    other = to_judge(catalog=a_catalog(a_target("other"), a_target("more")))
    await judged("chat", model, context=other)
    assert len({messages[0]["content"] for messages in model.messages}) == 1


async def test_no_target_is_named_where_the_request_stands() -> None:
    """A prompt cannot choose what is not in the question; there is no order of targets."""
    model = Scripted(EASY)
    await judged("chat", model)
    about = next(one[1]["content"] for one in model.messages if "2+2" in one[1]["content"])
    assert "small" not in about
    assert "large" not in about


async def test_the_order_of_the_catalog_changes_nothing() -> None:
    """The same targets in another order are asked about in the same order, to the same end."""
    targets = [a_target(name, description=f"{name} words") for name in ("a", "b", "c")]
    found, asked = [], []
    for order in (targets, targets[::-1]):
        model = Scripted(EASY, ABLE)
        context = to_judge(catalog=a_catalog(*order))
        judgement, _ = await judged("chat", model, context=context)
        found.append(judgement)
        asked.append(model.messages)
    assert found[0] == found[1]
    assert asked[0] == asked[1]


async def test_an_edited_description_is_asked_about_alone() -> None:
    """One small call for the text; the request's own levels are known."""
    protocol, model = Chat(), Scripted(EASY)
    known, _ = await judged(protocol, model)
    edited = to_judge(catalog=a_catalog(a_target("small", description="New."), a_target("large")))
    model.messages.clear()
    later, _ = await judged(protocol, model, only=("small",), known=known, context=edited)
    assert len(model.messages) == 1
    assert "New." in model.messages[0][1]["content"]
    assert list(later.probabilities) == [text_key(edited.targets()[0])]
    assert later.levels == known.levels


async def test_a_target_whose_question_fails_stays_unjudged() -> None:
    """The judgement of the others stands."""
    model = Scripted(EASY, RouterLLMFailed("http", "500"), ABLE)
    judgement, _ = await judged("chat", model)
    assert len(judgement.probabilities) == 1


async def test_the_request_s_own_failure_is_the_judgement_s() -> None:
    """Without levels there is nothing to judge by."""
    with pytest.raises(RouterLLMFailed) as caught:
        await judged("chat", Scripted({"The": 0.9, "A": 0.01}, ABLE))
    assert caught.value.kind == "low_mass"


@pytest.mark.parametrize("written", ["B", " B", "\nB", "b", "**B", "`B`", "B)"])
def test_a_label_counts_with_and_without_what_stands_around_it(written: str) -> None:
    """Chat templates differ in the white space before an answer."""
    shares, mass = label_shares(token(**{written: 0.6, "Sure": 0.4}), LABELS)
    assert shares == (0.0, 1.0, 0.0, 0.0, 0.0)
    assert mass == pytest.approx(0.6)


def test_words_that_begin_with_a_label_are_no_label() -> None:
    """`Because` is not B."""
    with pytest.raises(RouterLLMFailed) as caught:
        label_shares(token(Because=0.5, Answer=0.5), LABELS)
    assert caught.value.kind == "low_mass"
    assert caught.value.input_tokens == 50


LEVEL = st.lists(st.floats(0.01, 1), min_size=5, max_size=5).map(
    lambda values: tuple(value / sum(values) for value in values)
)


@given(LEVEL, LEVEL)
def test_a_chance_is_a_probability_and_grows_with_ability(need: Any, able: Any) -> None:
    """Moving a target up a rung never lowers it; nor does an easier request."""
    base = chance(need, able)
    assert 0.0 < base < 1.0
    higher = (0.0, *able[:3], able[3] + able[4])
    assert chance(need, higher) >= base - 1e-9
    easier = (need[0] + need[1], *need[2:], 0.0)
    assert chance(easier, able) >= base - 1e-9


async def test_a_judgement_carries_task_difficulty_and_mass() -> None:
    """What one request is like comes with the one token."""
    judgement, _ = await judged("chat", Scripted(EASY, ABLE))
    assert judgement.task == "general"
    assert judgement.difficulty == pytest.approx(0.1 / 0.9 / 4)
    assert judgement.valid_mass == pytest.approx(0.9)
    assert replace(judgement, model="") != Judgement()


async def _all_asked() -> None:
    for _ in range(50):  # every task gets to its call
        await asyncio.sleep(0)


async def test_requests_at_once_share_the_questions_about_targets() -> None:
    """Ten requests of one kind of work ask ten times about themselves, and once about a target."""
    protocol, model = Chat(), Scripted(EASY)
    model.gate = asyncio.Event()
    tasks = [asyncio.ensure_future(judged(protocol, model)) for _ in range(10)]
    await _all_asked()
    assert len(model.messages) == 12
    model.gate.set()
    found = await asyncio.gather(*tasks)
    assert all(len(judgement.probabilities) == 2 for judgement, _ in found)


async def test_an_ended_question_about_a_target_is_asked_again() -> None:
    """Those that waited for it go on without, and the next request asks anew."""
    protocol, model = Chat(), Scripted(EASY)
    model.gate = asyncio.Event()
    first = asyncio.ensure_future(judged(protocol, model))
    second = asyncio.ensure_future(judged(protocol, model))
    await _all_asked()
    first.cancel()
    await _all_asked()
    model.gate.set()
    judgement, _ = await second
    assert judgement.probabilities == {}
    assert len((await judged(protocol, model))[0].probabilities) == 2


async def test_what_was_learned_of_targets_outlives_the_process() -> None:
    """A new process asks about the request alone; another router prompt asks about targets too."""
    store, model = MemoryStore(), Scripted(EASY)
    first, _ = await judged(Chat(store), model)
    second, _ = await judged(Chat(store), model)
    assert len(model.messages) == 4
    assert second.probabilities == first.probabilities
    context = to_judge()
    other = replace(context, catalog=replace(context.catalog, prompt_version="p2"))
    await judged(Chat(store), model, context=other)
    assert len(model.messages) == 7
