"""Screening: what is asked once, and what asks again. No gateway is needed for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import ANONYMOUS, Caller, ChatRequest, RouterOptions
from llmrouter.domain.deadline import NEVER, Deadline
from llmrouter.domain.decision import RoutingContext
from llmrouter.errors import NotFound
from llmrouter.features.extractor import Extractor
from llmrouter.features.fingerprint import Fingerprinter
from llmrouter.screening import LONG_BODY, Screener
from llmrouter.upstream.health import TargetHealth
from tests.fakes import a_catalog, a_request, a_target


@dataclass
class Holder:
    """A catalog that a test can swap."""

    current: Catalog = field(default_factory=a_catalog)


class Bench:
    """A screener on real features and health."""

    def __init__(self) -> None:
        self.holder, self.health = Holder(), TargetHealth()
        measure = Extractor(Fingerprinter(b"k" * 32))
        self.screener = Screener(self.holder, measure, self.health)

    def ask(
        self, request: ChatRequest, caller: Caller = ANONYMOUS, deadline: Deadline = NEVER
    ) -> RoutingContext:
        """The request, screened."""
        return self.screener.screen(request, caller, deadline)

    def ill(self, target: str) -> None:
        """Make a target's circuit open."""
        for _ in range(5):
            self.health.record(target, ok=False)


def a_kept_request(text: str = "What is 2+2?") -> ChatRequest:
    """A request that the same bytes yield again."""
    return replace(a_request(text), kept=True)


def test_a_kept_request_is_measured_once() -> None:
    """A request that comes again is the question it was, and equal to a fresh one's."""
    bench, request = Bench(), a_kept_request("one two three")
    first = bench.ask(request)
    assert bench.ask(request) is first
    again = bench.ask(replace(request, kept=False))
    assert again is not first
    assert again.features == first.features
    assert again.eligible == first.eligible


def test_another_caller_asks_another_question() -> None:
    """What a key may reach and where its entries live is its own, for the same bytes too."""
    bench, request = Bench(), a_kept_request()
    first = bench.ask(request)
    limited = bench.ask(request, Caller("k", tenant="t", allow=frozenset({"large"})))
    assert limited.eligible == ("large",)
    assert limited.features.fingerprint != first.features.fingerprint
    assert bench.ask(request) is first


def test_an_edited_catalog_asks_anew() -> None:
    """A swapped catalog is seen by the very next request."""
    bench, request = Bench(), a_kept_request()
    bench.ask(request)
    targets = dict(bench.holder.current.targets)
    targets["small"] = replace(targets["small"], enabled=False)
    bench.holder.current = replace(bench.holder.current, targets=targets, version="v2")
    asked = bench.ask(request)
    assert asked.catalog is bench.holder.current
    assert asked.eligible == ("large",)


def test_an_ill_target_is_out_and_comes_back() -> None:
    """Health is looked at for every request, however often it came before."""
    bench, request = Bench(), a_kept_request()
    assert bench.ask(request).eligible == ("small", "large")
    bench.ill("small")
    asked = bench.ask(request)
    assert asked.eligible == ("large",)
    assert [e.target for e in asked.excluded] == ["small"]
    bench.health.record("small", ok=True)
    assert bench.ask(request).eligible == ("small", "large")


def test_a_target_that_was_ill_at_the_first_asking_comes_back() -> None:
    """A question asked while somebody was ill is not the answer to later ones."""
    bench, request = Bench(), a_kept_request()
    bench.ill("small")
    assert bench.ask(request).eligible == ("large",)
    bench.health.record("small", ok=True)
    assert bench.ask(request).eligible == ("small", "large")


def test_a_deadline_is_the_request_s_own() -> None:
    """With a latency budget every request has its own point in time."""
    bench = Bench()
    request = replace(a_request(options=RouterOptions(latency_budget_ms=5000)), kept=True)
    one, two = Deadline(1e12), Deadline(2e12)
    assert [bench.ask(request, deadline=d).deadline for d in (one, two)] == [one, two]


@pytest.mark.parametrize(
    ("options", "param", "meant"),
    [
        (RouterOptions(allow=("small", "smal")), "router.allow[1]", "small"),
        (RouterOptions(allow=("small",), deny=("larg",)), "router.deny[0]", "large"),
    ],
)
def test_an_unknown_id_is_reported_where_it_stands(
    options: RouterOptions, param: str, meant: str
) -> None:
    """The parameter is the list that has it, not the other one; misspelt, it would do nothing."""
    bench = Bench()
    with pytest.raises(NotFound) as refused:
        bench.ask(a_request(options=options))
    assert (refused.value.code, refused.value.param) == ("target_not_found", param)
    assert f"did you mean {meant!r}?" in refused.value.message


async def test_a_long_request_is_screened_like_a_short_one() -> None:
    """It is measured in a thread, and nothing else differs."""
    bench, request = Bench(), a_request("word " * (LONG_BODY // 5))
    bench.holder.current = a_catalog(a_target("wide", context_window=100_000))
    context = await bench.screener.context(request, ANONYMOUS, NEVER)
    assert len(request.body) >= LONG_BODY
    assert context.features == bench.screener.features(request, ANONYMOUS)
    assert context.eligible == bench.ask(request).eligible
