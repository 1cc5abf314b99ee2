"""What is expected of a target nobody graded yet: from its file and from those like it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.target import Price, Target
from llmrouter.learning.model.cold_start import DOUBT, cold_start_estimates
from tests.fakes import a_target

CODER = "Writes and repairs code in many languages, follows a repository's style, calls tools."
POET = "Poems, songs and stories in a warm voice; rhymes, metre, wordplay."
KNOWN = ("coder", "poet", "giant")
LEVEL = np.array([0.5, 0.4, 0.9], np.float32)


def known(**over: Target) -> dict[str, Target]:
    """A catalog of three known targets, of which the dearest is the best, and `over`."""
    targets = (
        a_target("coder", description=CODER),
        a_target("poet", description=POET),
        a_target("giant", description="The strongest at everything.", price=Price(10.0, 40.0)),
    )
    return {target.id: target for target in targets} | over


def new(description: str = CODER, **over: Any) -> Target:
    """A target that an edit adds."""
    return a_target("new", description=description, **over)


def expected(target: Target, quality: tuple[float, ...] = (0.9, 0.2, 0.6)) -> tuple[float, float]:
    """Quality and doubt of a new target where the known ones have `quality`."""
    return cold_start_estimates(KNOWN, LEVEL, known(new=target))["new"].expect(
        np.array(quality, np.float32)
    )


def test_it_starts_near_the_target_it_resembles() -> None:
    """A cheaper coder does well where the coder does well, a poet where the poet does."""
    cheaper = Price(0.5, 1.0)
    coder, _ = expected(new(CODER.replace("Writes", "Quickly writes"), price=cheaper))
    poet, _ = expected(new(POET, price=cheaper))
    assert coder == pytest.approx(0.9, abs=0.2)
    assert poet == pytest.approx(0.2, abs=0.2)
    assert expected(new(CODER, price=cheaper), (0.1, 0.9, 0.6))[0] < 0.4


def test_price_speaks_where_words_do_not() -> None:
    """A dear target that resembles nobody is nearer to the dear one."""
    nobody = "Entirely unlike."
    quality = (0.2, 0.2, 0.9)
    cheap, dear = (expected(new(nobody, price=Price(p, 4 * p)), quality)[0] for p in (0.5, 20.0))
    assert dear > cheap + 0.1
    like_giant = [
        cold_start_estimates(KNOWN, LEVEL, known(new=new(nobody, price=Price(p, 4 * p))))[
            "new"
        ].weights[2]
        for p in (0.5, 20.0)
    ]
    assert like_giant[1] > 2 * like_giant[0]


def test_capabilities_count() -> None:
    """Of two with the same words and price it resembles the one that can do the same."""
    able = frozenset({"tools", "vision"})
    targets = {
        t.id: t
        for t in (
            a_target("can", description="A model.", capabilities=able),
            a_target("cannot", description="A model."),
            a_target("new", description="A model.", capabilities=able),
        )
    }
    heir = cold_start_estimates(("can", "cannot"), np.array([0.5, 0.5], np.float32), targets)["new"]
    assert heir.expect(np.array([1.0, 0.0], np.float32))[0] > 0.6


def test_the_doubt_is_high_and_grows_where_the_known_ones_disagree() -> None:
    """More than any single estimate's; a resemblance is no record."""
    _, agreed = expected(new(), (0.5, 0.5, 0.5))
    _, apart = expected(new("Entirely unlike."), (0.9, 0.1, 0.5))
    assert agreed == pytest.approx(DOUBT)
    assert apart > agreed + 0.05


def test_those_who_left_the_catalog_leave_no_trace() -> None:
    """Their weight is zero, whatever they were estimated at."""
    left = known(new=new())
    del left["coder"]
    heir = cold_start_estimates(KNOWN, LEVEL, left)["new"]
    assert heir.weights[0] == 0.0
    assert heir.weights.sum() == pytest.approx(1.0)
    quality = [heir.expect(np.array([q, 0.2, 0.6], np.float32)) for q in (0.0, 1.0)]
    assert quality[0][0] == quality[1][0]


def test_where_there_is_nothing_to_say_nothing_is_said() -> None:
    """No new target, or no known one in the catalog."""
    assert cold_start_estimates(KNOWN, LEVEL, known()) == {}
    assert cold_start_estimates(("gone",), LEVEL[:1], known()) == {}
    assert cold_start_estimates((), LEVEL[:0], known()) == {}


def test_a_higher_price_never_lowers_what_is_expected_of_it() -> None:
    """Where dear targets did worse, price is worth nothing rather than less."""
    upside_down = LEVEL[::-1].copy()
    heir = cold_start_estimates(KNOWN, upside_down, known(new=new(price=Price(50.0, 50.0))))["new"]
    assert heir.shift == 0.0


TEXT = st.text(max_size=60)


@given(TEXT, TEXT, st.floats(0, 1e6), st.sets(st.sampled_from(["tools", "vision", "audio"])))
def test_any_file_gives_weights_that_sum_to_one(
    description: str, model: str, price: float, can: set[str]
) -> None:
    """Also an empty description, a free target, lone surrogates."""
    target = new(description, model=model, price=Price(price, price), capabilities=frozenset(can))
    heir = cold_start_estimates(KNOWN, LEVEL, known(new=target))["new"]
    assert heir.weights.sum() == pytest.approx(1.0, abs=1e-5)
    assert (heir.weights > 0).all()
    assert np.isfinite(heir.expect(LEVEL)).all()
