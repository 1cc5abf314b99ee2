"""Tenants kept apart, through HTTP: nobody sees, executes, rates or is served what is another's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.prompts_dir import ROUTING, written
from tests.test_bootstrap import Running, running

KEYS = "alice:alice-key-0123:pro,bob:bob-key-012345:pro,bob:bob-second-key:pro"
ADMIN = "admin-key-0123456789"
ALICE = {"Authorization": "Bearer alice-key-0123"}
BOB = {"Authorization": "Bearer bob-key-012345"}
BOB_TOO = {"Authorization": "Bearer bob-second-key"}
ROOT = {"Authorization": f"Bearer {ADMIN}"}
ISOLATED: dict[str, Any] = {"api_keys": KEYS, "admin_key": ADMIN, "isolate_tenants": True}
SAID = "Say something about copper."


async def ask(up: Running, path: str, who: dict[str, str], **body: Any) -> tuple[int, Any]:
    """Status and document of a POST with a key."""
    async with up.client.post(path, json=body, headers=who) as response:
        return response.status, await response.json()


async def see(up: Running, path: str, who: dict[str, str]) -> tuple[int, Any]:
    """Status and document (or text) of a GET with a key."""
    async with up.client.get(path, headers=who) as response:
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else await response.text()


@pytest.fixture
async def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """Two tenants and an admin; the router LLM is asked once, not now and then again."""
    written(tmp_path / "prompts", routing=f"{ROUTING}learned: {{audit_rate: 0}}\n")
    async with running(tmp_path, monkeypatch, **ISOLATED) as up:
        yield up


async def test_a_decision_is_its_tenants_alone(apart: Running) -> None:
    """Another key cannot find, list, execute or rate it, and cannot tell it from none."""
    _, decided = await ask(apart, "/route", ALICE, prompt=SAID)
    name = decided["decision_id"]
    path, by_id = f"/decisions/{name}", {"decision_id": name}
    for who, status in ((BOB, 404), (ALICE, 200), (ROOT, 200)):
        assert (await see(apart, path, who))[0] == status
        listed = (await see(apart, "/decisions", who))[1]["decisions"]
        assert [one["decision_id"] for one in listed] == ([name] if status == 200 else [])
    assert (await ask(apart, "/complete", BOB, prompt=SAID, router=by_id))[0] == 404
    assert (await ask(apart, "/feedback", BOB, **by_id, score=-1))[0] == 404
    unknown = (await ask(apart, "/feedback", BOB, decision_id=name[:-1] + "9", score=-1))[1]
    refused = (await ask(apart, "/feedback", BOB, **by_id, score=-1))[1]
    assert refused["error"]["code"] == unknown["error"]["code"]
    assert (await ask(apart, "/feedback", ALICE, **by_id, score=1))[0] == 202
    status, done = await ask(apart, "/complete", ALICE, prompt=SAID, router=by_id)
    assert (status, done["router"]["decision_id"]) == (200, name)


async def test_cached_entries_are_not_shared(apart: Running) -> None:
    """Whether somebody asked the same before is not another's to learn; a name's two keys do."""
    sources = [
        (await ask(apart, "/route", who, prompt=SAID))[1]["source"]
        for who in (ALICE, BOB, ALICE, BOB_TOO)
    ]
    assert sources == ["llm", "llm", "cache", "cache"]


async def test_sessions_of_one_name_are_different_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session's target is nobody else's."""
    written(tmp_path / "prompts", routing=f"{ROUTING}sessions: {{enabled: true}}\n")
    turns = [
        {"role": "user", "content": SAID},
        {"role": "assistant", "content": "Copper is a metal."},
        {"role": "tool", "tool_call_id": "1", "content": "Observation: Cu"},
    ]
    about = {"session": "s1"}
    async with running(tmp_path, monkeypatch, **ISOLATED) as up:
        _, first = await ask(up, "/route", ALICE, messages=turns[:1], router=about)
        _, own = await ask(up, "/route", ALICE, messages=turns, router=about)
        _, other = await ask(up, "/route", BOB, messages=turns, router=about)
    assert (own["source"], own["target"]) == ("session", first["target"])
    assert other["source"] != "session"


async def test_figures_are_the_tenants_own(apart: Running) -> None:
    """What others spend and do is theirs; the admin key sees everyone's."""
    for _ in range(2):
        assert (await ask(apart, "/complete", ALICE, prompt=SAID))[0] == 200
    assert (await ask(apart, "/complete", BOB, prompt=SAID))[0] == 200
    figures = {
        name: (await see(apart, "/stats", who))[1]
        for name, who in (("alice", ALICE), ("bob", BOB), ("admin", ROOT))
    }
    assert {name: one["decisions"] for name, one in figures.items()} == {
        "alice": 2,
        "bob": 1,
        "admin": 3,
    }
    assert figures["alice"]["cache_hit_rate"] == 0.5
    assert figures["alice"]["router_calls"] == 1
    spent = figures["admin"]["spend_by_key_usd"]
    assert set(spent) == {"alice", "bob"}
    for name in ("alice", "bob"):
        assert figures[name]["spend_by_key_usd"] == {name: spent[name]}
        assert figures[name]["spend_usd"] == pytest.approx(spent[name])


async def test_metrics_of_all_tenants_need_the_admin_key(apart: Running) -> None:
    """They add everyone up, keys by name included; scrapers can send a header."""
    assert (await see(apart, "/metrics", {}))[0] == 401
    assert (await see(apart, "/metrics", ALICE))[0] == 403
    await ask(apart, "/complete", ALICE, prompt=SAID)
    status, text = await see(apart, "/metrics", ROOT)
    assert status == 200
    assert 'llmrouter_key_spend_usd_total{key="alice"}' in text


async def test_without_isolation_one_team_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys alone do not part: decisions, cache and figures are everyone's, metrics are open."""
    async with running(tmp_path, monkeypatch, api_keys=KEYS, admin_key=ADMIN) as up:
        _, decided = await ask(up, "/route", ALICE, prompt=SAID)
        _, again = await ask(up, "/route", BOB, prompt=SAID)
        assert again["source"] == "cache"
        assert (await see(up, f"/decisions/{decided['decision_id']}", BOB))[0] == 200
        assert (await see(up, "/stats", BOB))[1]["decisions"] == 2
        assert (await see(up, "/metrics", {}))[0] == 200


async def test_what_is_edited_needs_the_admin_key(apart: Running) -> None:
    """Reading the catalog takes any key, changing it the admin's."""
    for who, status in (({}, 401), (ALICE, 403), (ROOT, 400)):
        headers = {"Content-Type": "text/markdown", **who}
        async with apart.client.put("/catalog/small", data="x", headers=headers) as response:
            assert response.status == status
    assert (await see(apart, "/catalog", ALICE))[0] == 200
    assert (await see(apart, "/catalog", {}))[0] == 401
