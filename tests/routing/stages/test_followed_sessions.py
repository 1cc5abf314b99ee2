"""What is followed where sessions are off: tool loops and agents' sessions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmrouter.domain.catalog import Sessions
from llmrouter.domain.chat import Message, WireFacts
from llmrouter.domain.decision import RoutingContext, Source
from llmrouter.domain.features import Traits
from llmrouter.routing.stages.session_affinity import (
    SessionAffinity,
    SessionFollower,
    SessionMemory,
    is_followed,
    session_key,
)
from llmrouter.store.memory import MemoryStore
from llmrouter.util.tasks import Background
from tests.fakes import a_catalog, a_decision, a_target
from tests.routing.asking import Says, a_question, says, some_features

OFF = a_catalog(a_target("small"), a_target("large"))
NEVER = replace(OFF, sessions=Sessions(tool_loops=False))


def asked(text: str = "hi", wire: WireFacts | None = None, **over: Any) -> RoutingContext:
    """A question while sessions are off."""
    catalog, side_task = over.pop("catalog", OFF), over.pop("side_task", None)
    features = some_features(traits=Traits(side_task=side_task), **over)
    context = a_question(features=features, catalog=catalog)
    request = replace(context.request, messages=(Message("user", text),))
    return replace(context, request=request if wire is None else replace(request, wire=wire))


@pytest.mark.parametrize(
    ("context", "followed"),
    [
        (asked(), False),
        (asked(tools=True), True),
        (asked(wire=WireFacts(session="s")), True),
        (asked(wire=WireFacts(signed=True)), True),
        (asked(tools=True, catalog=NEVER), False),
        (asked(wire=WireFacts(session="s"), side_task="title"), False),
        (asked(wire=WireFacts(session="s"), side_task="compaction"), True),
    ],
    ids=["plain", "tools", "named", "signed", "switched off", "side task", "compaction"],
)
def test_tool_users_and_agents_are_followed(context: RoutingContext, followed: bool) -> None:
    """A side task is no turn of its session; a compaction reads the session's whole context."""
    assert is_followed(context) == followed


async def test_a_tool_loop_stays_and_a_new_turn_with_tools_does_not() -> None:
    """Sessions are off: only the loop itself is held together."""
    inner = Says(says("small"))
    stage = SessionAffinity(inner, MemoryStore())
    assert (await stage.decide(asked(tools=True))).target == "small"  # type: ignore[union-attr]
    inner.script = [says("large")]
    loop = await stage.decide(asked(tools=True, continuation=True))
    assert loop is not None
    assert (loop.target, loop.source) == ("small", Source.SESSION)
    fresh = await stage.decide(asked(tools=True, turns=2))
    assert fresh is not None
    assert fresh.target == "large"


def test_sub_agents_of_one_session_are_conversations_of_their_own() -> None:
    """The session's name and the first user turn make the key; the system prompt may change."""
    wire = WireFacts(session="s")
    one, same, other = (
        session_key(asked("Fix it.", wire)),
        session_key(asked("Fix it.", wire, system="changed", conversation="d" * 32)),
        session_key(asked("Search.", wire)),
    )
    assert one == same
    assert len({one, other, session_key(asked("Fix it.", WireFacts(session="t")))}) == 3


@pytest.mark.parametrize(
    ("source", "target", "noted"),
    [
        (Source.LLM, "small", False),
        (Source.LLM, "large", True),
        (Source.PINNED, "small", True),
        (Source.DEFAULT, "small", True),
    ],
)
async def test_who_answered_is_noted_where_the_stage_did_not(
    source: Source, target: str, noted: bool
) -> None:
    """A fallback's answer goes on with the fallback, and its reasoning is the fallback's."""
    store, background = MemoryStore(), Background()
    SessionFollower(store, background)("session::k", a_decision("small", source=source), target)
    await background.close(5.0)
    assert await SessionMemory(store).target_of("session::k") == (target if noted else None)
