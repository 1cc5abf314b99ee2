"""The typed clients against a running service with the simulated upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmrouter.client import AsyncClient, Client, RouterError
from tests.served import process


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo: the service in front of the simulated upstream."""
    directory: Path = tmp_path_factory.mktemp("service")
    with process(directory, "demo") as service:
        yield service.base


def test_a_decision_is_made_executed_rated_and_found(base_url: str) -> None:
    """The four calls in the order in which a program makes them."""
    with Client(base_url) as router:
        decision = router.route("Translate 'good morning' into French.", quality=0.3)
        assert decision.target in {"small", "large"}
        assert {one.target for one in decision.alternatives} <= {"small", "large"}
        answer = router.complete(
            "Translate 'good morning' into French.",
            {"max_tokens": 50},
            decision_id=decision.decision_id,
        )
        assert answer.router.decision_id == decision.decision_id
        assert answer.router.attempts[-1].target == decision.target
        assert answer.text
        assert answer.model_extra is not None
        assert answer.model_extra["usage"]["completion_tokens"] <= 50
        router.feedback(decision.decision_id, 1.0, comment="right")
        assert router.decision(decision.decision_id).target == decision.target
        assert decision.decision_id in {one.decision_id for one in router.decisions(limit=10)}


async def test_the_async_client_makes_the_same_calls(base_url: str) -> None:
    """Messages are taken as well as a prompt."""
    async with AsyncClient(base_url) as router:
        messages = [{"role": "user", "content": "Name a colour."}]
        decision = await router.route(messages, deny=["large"])
        assert decision.target == "small"
        assert [(one.target, bool(one.reason)) for one in decision.excluded] == [("large", True)]
        answer = await router.complete(messages)
        assert answer.router.cost_usd > 0
        await router.feedback(decision.decision_id, -1.0, preferred="large")
        assert (await router.decision(decision.decision_id)).decision_id == decision.decision_id
        assert await router.decisions(limit=1)


def test_a_refusal_is_an_error_with_its_code(base_url: str) -> None:
    """The service's own words, its status and the member it is about."""
    with Client(base_url) as router:
        with pytest.raises(RouterError, match="qualty") as caught:
            router.route("hi", qualty=1)
        assert (caught.value.status, caught.value.param) == (400, "router.qualty")
        with pytest.raises(RouterError) as unknown:
            router.feedback("dec_unknown_1", 0.5)
        assert (unknown.value.status, unknown.value.code) == (404, "decision_not_found")


def test_an_answer_that_is_not_the_services_is_an_error(base_url: str) -> None:
    """A wrong address answers something, but no JSON of ours."""
    with Client(f"{base_url}/nowhere") as router, pytest.raises(RouterError) as caught:
        router.route("hi")
    assert caught.value.status == 404
