"""What is learned, and a request tried under other files, over HTTP."""

from __future__ import annotations

from typing import Any

from llmrouter.catalog.loader import Edits
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.decision import Decision
from llmrouter.errors import NotFound
from tests.api.fakes import DECISION, FakeDesk, client_of, services


async def nothing_before() -> dict[str, Any]:
    """The first model."""
    raise NotFound("there is no earlier model to go back to", code="no_earlier_model")


async def test_learning_is_shown_and_a_roll_back_without_an_earlier_model_is_404() -> None:
    """What the learner reports, as it came."""
    given = services(learning=lambda: {"serving": True, "tasks": {}}, roll_back=nothing_before)
    async with client_of(given) as client:
        shown = await client.get("/learning")
        back = await client.post("/learning/rollback", b"")
    assert shown.json == {"serving": True, "tasks": {}}
    assert (back.status, back.error["code"]) == (404, "no_earlier_model")


async def test_a_request_is_tried_under_the_files_that_are_sent() -> None:
    """The request is checked as `/route` checks it; without one it is a 400."""
    asked: list[tuple[Edits, ChatRequest]] = []

    async def trial(edits: Edits, request: ChatRequest, caller: Caller) -> Decision:
        asked.append((edits, request))
        return DECISION

    async with client_of(services(trial=trial, editor=FakeDesk())) as client:
        files = {"routing.yaml": "default: large\n"}
        body = {"files": files, "request": {"prompt": "hi", "router": {"quality": 0.9}}}
        answer = await client.post("/catalog/route", body)
        wrong = await client.post("/catalog/route", {"files": files})
        odd = await client.post("/catalog/route", {"files": files, "request": {"prompt": 7}})
    assert answer.json["target"] == DECISION.target
    ((edits, request),) = asked
    assert edits == files
    assert request.options.quality == 0.9
    assert (wrong.status, wrong.error["param"]) == (400, "request")
    assert odd.status == 400
