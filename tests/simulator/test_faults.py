"""Failures on request, as a client sees them."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp.test_utils import TestClient

from llmrouter.simulator.faults import NOTHING, Wish, wish

BODY = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi " * 50}]}
PATH = "/v1/chat/completions"


async def test_a_status_on_request(sim: TestClient) -> None:  # type: ignore[type-arg]  # see conftest
    """The status that was asked for comes in OpenAI's shape."""
    answered = await sim.post(PATH, json=BODY, headers={"x-sim-status": "429"})
    assert answered.status == 429
    assert "error" in await answered.json()


@pytest.mark.parametrize(
    ("fault", "content_type", "body"),
    [
        ("html", "text/html", b"<html><body>simulated</body></html>"),
        ("empty", "application/json", b""),
    ],
)
async def test_a_200_that_is_no_answer(
    sim: TestClient,  # type: ignore[type-arg]  # see conftest
    fault: str,
    content_type: str,
    body: bytes,
) -> None:
    """A page or nothing at all, with status 200."""
    answered = await sim.post(PATH, json=BODY, headers={"x-sim-fault": fault})
    assert (answered.status, answered.content_type) == (200, content_type)
    assert await answered.read() == body


async def test_an_error_inside_a_200(sim: TestClient) -> None:  # type: ignore[type-arg]  # see conftest
    """Status 200, and an error in the body."""
    answered = await sim.post(PATH, json=BODY, headers={"x-sim-fault": "error"})
    assert answered.status == 200
    assert set(await answered.json()) == {"error"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cut_in_the_middle(sim: TestClient, stream: bool) -> None:  # type: ignore[type-arg]  # see conftest
    """The answer begins and its rest never comes."""
    answered = await sim.post(PATH, json={**BODY, "stream": stream}, headers={"x-sim-fault": "cut"})
    assert answered.status == 200
    with pytest.raises(aiohttp.ClientError):
        await answered.read()


async def test_a_dropped_connection(sim: TestClient) -> None:  # type: ignore[type-arg]  # see conftest
    """No answer at all comes before the connection is gone."""
    with pytest.raises(aiohttp.ClientError):
        await sim.post(PATH, json=BODY, headers={"x-sim-fault": "drop"})


async def test_a_hanging_server(sim: TestClient) -> None:  # type: ignore[type-arg]  # see conftest
    """The client gives up, not the server."""
    limit = aiohttp.ClientTimeout(total=0.2)
    with pytest.raises(TimeoutError):
        await sim.post(PATH, json=BODY, headers={"x-sim-fault": "hang"}, timeout=limit)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-sim-status": "soon"},
        {"x-sim-status": "200"},
        {"x-sim-latency-ms": "-5"},
        {"x-sim-latency-ms": "nan"},
        {"x-sim-fault": "explode"},
    ],
)
async def test_a_wish_that_cannot_be_read(sim: TestClient, headers: dict[str, str]) -> None:  # type: ignore[type-arg]  # see conftest
    """A wrong control header is a 400, not a surprise."""
    answered = await sim.post(PATH, json=BODY, headers=headers)
    assert answered.status == 400


def test_wishes_are_read() -> None:
    """Milliseconds become seconds; without headers there is no wish."""
    assert wish({"x-sim-latency-ms": "250", "x-sim-fault": "cut"}) == Wish(0.25, None, "cut")
    assert wish({"accept": "*/*"}) is NOTHING
