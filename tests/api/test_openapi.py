"""The document tells the truth: about paths, about bodies sent, about answers got."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import orjson
import pytest

from llmrouter.api.app import PATHS, ROUTED, names_of, template
from llmrouter.api.openapi import build
from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.auth.api_keys import OPEN
from llmrouter.auth.managed_keys import ManagedKeys
from llmrouter.catalog.loader import Edits
from llmrouter.domain.chat import Caller, ChatRequest
from llmrouter.domain.decision import Decision
from llmrouter.errors import BadRequest
from llmrouter.store.memory import MemoryStore
from tests.api.fakes import (
    DECISION,
    FakeDesk,
    FakeGateway,
    NoCanary,
    client_of,
    no_check,
    no_stats,
    services,
)  # fmt: skip

HI = [{"role": "user", "content": "hi"}]


async def no_preview(edits: Edits, last: int) -> bytes:
    """An edit that changes nothing."""
    return b"{}"


async def no_frontier(caller: Caller) -> dict[str, Any]:
    """Nothing is expected of anyone."""
    return {"decisions": 0, "tasks": {}}


async def no_trial(edits: Edits, request: ChatRequest, caller: Caller) -> Decision:
    """The same, whatever the edits."""
    return DECISION


async def no_roll_back() -> dict[str, Any]:
    """An earlier model."""
    return {"learned": 1, "instead_of": 2}


def whole() -> dict[str, Any]:
    """The document of a service that has every path."""
    desk = FakeDesk()
    given = services(
        catalog=desk,
        editor=desk,
        preview=no_preview,
        series=no_stats,
        frontier=no_frontier,
        trial=no_trial,
        learning=dict,
        roll_back=no_roll_back,
        canary=NoCanary(),
        managed_keys=ManagedKeys(MemoryStore(), OPEN),
        check=no_check,
    )
    document: dict[str, Any] = orjson.loads(build(given, names_of(given)))
    return document


def check(name: str, value: Any) -> None:
    """Raise unless a value fits a named schema."""
    document = whole()
    jsonschema_rs.validate(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$ref": f"#/components/schemas/{name}",
            "components": document["components"],
        },
        value,
    )


def test_every_path_is_documented_and_nothing_else() -> None:
    """One table serves both."""
    documented = {
        (method.upper(), path) for path, calls in whole()["paths"].items() for method in calls
    }
    routed = {("POST", path) for path in ROUTED}
    assert documented == routed | {(path.method, template(path.path)) for path in PATHS}


def test_every_reference_leads_somewhere() -> None:
    """A client generator would stop at the first that does not."""
    text = orjson.dumps(whole()).decode()
    names = {part.split('"')[0] for part in text.split('"$ref":"#/components/schemas/')[1:]}
    assert names
    assert names <= set(whole()["components"]["schemas"])


async def test_answers_fit_their_schemas() -> None:
    """What is answered is what is documented."""
    desk = FakeDesk()
    async with client_of(services(catalog=desk, editor=desk)) as client:
        for path, name in (
            ("/v1/models", "Models"),
            ("/v1/models/small", "Model"),
            ("/catalog", "Catalog"),
            ("/catalog/small/history", "CatalogHistory"),
            ("/decisions", "Decisions"),
            ("/decisions/dec-1", "Decision"),
            ("/healthz", "Health"),
            ("/readyz", "Readiness"),
            ("/nowhere", "Error"),
        ):
            check(name, (await client.get(path)).json)
        check("Decision", (await client.post("/route", {"prompt": "hi"})).json)
        check("Completion", (await client.post("/complete", {"prompt": "hi"})).json)
        feedback = {"decision_id": "dec-1", "score": 0.5}
        check("Feedback", feedback)
        check("Accepted", (await client.post("/feedback", feedback)).json)


@pytest.mark.parametrize(
    "document",
    [
        {"messages": HI},
        {"prompt": "hi"},
        {"prompt": "hi", "messages": HI},
        {"prompt": "hi", "messages": None},
        {"messages": []},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "x", "text": 1}]}]},
        {"messages": HI, "router": {"quality": 1.5}},
        {"messages": HI, "router": {"qualty": 1}},
        {"messages": HI, "router": {"allow": []}},
        {"messages": HI, "router": {"deny": [], "cache": "off"}},
        {"messages": HI, "stream": "yes"},
        {"messages": HI, "max_tokens": 0},
        {"messages": HI, "max_tokens": 16.0},
        {"messages": HI, "max_tokens": 16.5},
        {"messages": HI, "model": None},
        {"messages": HI, "x_unknown": 1},
    ],
)
def test_the_parser_and_the_schema_agree(document: dict[str, Any]) -> None:
    """What the document calls valid passes, and what it does not is refused."""
    try:
        check("RoutableRequest", document)
        fits = True
    except jsonschema_rs.ValidationError:
        fits = False
    try:
        parse(orjson.dumps(document), Endpoint.COMPLETE)
        passes = True
    except BadRequest:
        passes = False
    assert fits == passes


async def test_the_answer_of_complete_is_documented_in_full() -> None:
    """A key the contract names and the answer lacks would show here."""
    async with client_of(services(FakeGateway())) as client:
        router = (await client.post("/complete", {"prompt": "hi"})).json["router"]
    added = {"attempts", "cost_usd", "latency_ms", "router_cost_usd"}
    assert set(router) == {*DECISION.public(), *added}
