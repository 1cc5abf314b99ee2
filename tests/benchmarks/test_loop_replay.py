"""The stream, the simulated router LLM and the loop, on small invented outcomes."""

import random

import pytest

from benchmarks.loop.replay import Loop, Replay, summary, windows
from benchmarks.loop.workload import Request, RouterModel, Traffic, normalised, stream
from llmrouter.evaluation.benchmark.dataset import Row
from llmrouter.learning.model.mlp import NetworkSettings
from llmrouter.learning.model.training import FitSettings

QUICK = FitSettings(
    trees=10, folds=2, epochs=0, shrink=0.3, network=NetworkSettings(members=1, epochs=4)
)
PRICES = {"big": 9.0, "small": 1.0}


def _rows(count: int) -> list[Row]:
    dice = random.Random(0)
    starts = ("ri", "sto", "clo", "em", "ma", "cop", "vio", "har", "sig", "lan")
    words = [start + end for start in starts for end in ("ver", "ne", "ud", "ber", "ple", "let")]
    return [
        Row(str(n), " ".join(dice.choices(words, k=25)) + f" {n}", "", {"big": 1.0, "small": n % 2})
        for n in range(count)
    ]


def test_equal_settings_give_an_equal_stream() -> None:
    """And another seed another one."""
    rows = _rows(50)
    assert stream(rows, Traffic(200)) == stream(rows, Traffic(200))
    assert stream(rows, Traffic(200)) != stream(rows, Traffic(200, seed=1))


def test_kinds_say_what_the_cache_will_know() -> None:
    """New prompts come word for word, repeats have a normalised text seen before, near ones not."""
    rows, seen = _rows(60), set()
    requests = stream(rows, Traffic(400, near=0.5))
    assert {request.kind for request in requests} == {"new", "repeat", "near"}
    for request in requests:
        key = normalised(request.text)
        assert (key in seen) == (request.kind == "repeat")
        assert request.kind != "new" or request.text == rows[request.row].prompt
        seen.add(key)


def test_a_higher_exponent_repeats_more() -> None:
    """Popularity decides how much is new."""
    rows = _rows(300)

    def new(exponent: float) -> int:
        return sum(r.kind == "new" for r in stream(rows, Traffic(500, exponent)))

    assert new(1.4) < new(1.0) < new(0.6)


def test_file_order_brings_new_prompts_as_they_stand() -> None:
    """First arrivals follow the rows."""
    requests = stream(_rows(40), Traffic(200, shuffled=False))
    first = [request.row for request in requests if request.kind == "new"]
    assert first == list(range(len(first)))


def test_the_router_model_is_as_right_as_stated_and_repeats_itself() -> None:
    """Right means the cheapest of the best; the same text gets the same answer."""
    router = RouterModel(accuracy=0.8)
    requests = [Request(n, f"text {n}", "new") for n in range(2000)]
    picks = [router.pick(request, [1.0, 1.0, 0.0], [5.0, 2.0, 1.0]) for request in requests]
    assert picks.count(1) / 2000 == pytest.approx(0.8, abs=0.03)
    assert picks.count(0) == 0
    assert picks == [router.pick(request, [1.0, 1.0, 0.0], [5.0, 2.0, 1.0]) for request in requests]


def test_the_cache_alone_answers_repeats_as_the_router_did() -> None:
    """Without learning the score is that of asking every time, for fewer calls."""
    rows = _rows(100)
    requests = stream(rows, Traffic(600))
    served = Replay(rows, PRICES, RouterModel(usd=0.5), Loop(learn=False)).run(requests)
    whole = summary(served, len(served))
    assert whole.score == pytest.approx(whole.asked_score)
    assert whole.learned == 0
    assert whole.needed == pytest.approx(1 - whole.kinds["repeat"])
    assert whole.usd < whole.asked_usd
    assert whole.router_usd == pytest.approx(0.5 * whole.needed)


def test_trust_is_earned_and_its_answers_agree() -> None:
    """With many near-repeats the model takes over some, at the agreement asked for."""
    rows = _rows(100)
    requests = stream(rows, Traffic(900, near=0.8))
    loop = Loop(audit_rate=0.2, settings=QUICK)
    served = Replay(rows, PRICES, RouterModel(accuracy=0.9, wobble=0.0), loop).run(requests)
    late = summary(served[450:], len(served))
    assert late.learned > 0.05
    assert late.agreement is not None
    assert late.agreement >= 0.93
    assert late.audited > 0
    assert summary(served[:100], 100).learned == 0


def test_without_outcomes_a_teacher_is_matched_as_far_as_it_matches_itself() -> None:
    """It changes its mind on one wording in ten; a choice is held to so much of what it repeats."""
    rows = _rows(200)
    requests = stream(rows, Traffic(2400, near=0.8))
    router = RouterModel(accuracy=0.6, wobble=0.1)
    loop = Loop(0.9, by_name=True, settings=QUICK)
    served = Replay(rows, PRICES, router, loop).run(requests)
    again = [one.again for one in served if one.again is not None]
    late = summary(served[1200:], len(served))
    assert len(again) > 30
    assert 0.85 < sum(again) / len(again) < 1.0
    assert late.learned > 0.05
    assert (late.same or 0.0) >= 0.9 * sum(again) / len(again) - 0.03


def test_a_graded_failure_of_the_router_llm_is_no_disagreement() -> None:
    """Without trials one target runs; a named target that is known to fail is matched."""
    rows = _rows(100)
    requests = stream(rows, Traffic(900, near=0.8))
    loop = Loop(trials=0.0, settings=QUICK)
    router = RouterModel(accuracy=0.5, wobble=0.0)
    late = summary(Replay(rows, PRICES, router, loop).run(requests)[450:], 900)
    assert late.learned > 0.05
    assert (late.agreement or 0.0) >= 0.93
    assert (late.same or 1.0) < (late.agreement or 0.0)
    assert late.score > late.asked_score


def test_a_request_costs_what_ran_for_it() -> None:
    """The served target, the router call, and a comparison where one ran."""
    rows = _rows(60)
    requests = stream(rows, Traffic(300))
    served = Replay(rows, PRICES, RouterModel(usd=0.5), Loop(learn=False)).run(requests)
    assert {one.usd for one in served if one.source == "cache"} <= {1.0, 9.0}
    assert {one.usd for one in served if one.source == "llm"} <= {1.5, 9.5}


def test_windows_cut_a_run_and_keep_every_request() -> None:
    """The last one may be shorter."""
    rows = _rows(30)
    requests = stream(rows, Traffic(250))
    served = Replay(rows, PRICES, RouterModel(), Loop(learn=False)).run(requests)
    cut = windows(served, 100)
    assert [one.end for one in cut] == [100, 200, 250]
    for one in cut:
        assert one.needed + one.learned + one.cached == pytest.approx(1.0)
        assert sum(one.kinds.values()) == pytest.approx(1.0)
