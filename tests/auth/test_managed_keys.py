"""Keys made while the service runs: known to every worker, by their hash alone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from llmrouter.auth.api_keys import ApiKey, Authenticator, NoKey, hashed
from llmrouter.auth.managed_keys import TABLE, KeyWanted, ManagedKeys
from llmrouter.errors import BadRequest, Forbidden, NotFound
from llmrouter.store.memory import MemoryStore

ENVIRONMENT = (ApiKey("env", hashed("env-secret")),)


def bearer(secret: str) -> dict[str, str]:
    """The headers of a key."""
    return {"Authorization": f"Bearer {secret}"}


async def test_a_key_works_on_every_worker_until_it_is_revoked() -> None:
    """The environment's keys go on beside it."""
    store = MemoryStore()
    workers = [ManagedKeys(store, Authenticator(ENVIRONMENT, "admin")) for _ in range(2)]
    doors = [worker._authenticator for worker in workers]
    made = await workers[0].create(KeyWanted("alice", "pro", ["small"]))
    await workers[1].refresh()
    for door in doors:
        caller = door.caller(bearer(made["key"]))
        assert (caller.name, caller.tier, caller.allow) == ("alice", "pro", frozenset({"small"}))
        assert door.caller(bearer("env-secret")).name == "env"
        with pytest.raises(Forbidden):
            door.may_administer(caller)
    await workers[1].revoke(made["id"])
    await workers[0].refresh()
    for door in doors:
        with pytest.raises(NoKey):
            door.caller(bearer(made["key"]))
    with pytest.raises(NotFound):
        await workers[0].revoke(made["id"])


async def test_the_secret_is_told_once_and_stored_nowhere() -> None:
    """Neither a list nor the store has it."""
    store = MemoryStore()
    managed = ManagedKeys(store, Authenticator((), "admin"))
    made = await managed.create(KeyWanted("alice"))
    assert [one["name"] for one in await managed.keys()] == ["alice"]
    assert made["key"] not in str(await managed.keys())
    assert all(made["key"].encode() not in value for value in (await store.fields(TABLE)).values())


async def test_a_first_key_closes_an_open_service() -> None:
    """The admin key still gets in, and revoking the last key opens it again."""
    door = Authenticator((), "admin")
    managed = ManagedKeys(MemoryStore(), door)
    made = await managed.create(KeyWanted("alice"))
    with pytest.raises(NoKey):
        door.caller({})
    assert door.caller(bearer("admin")).admin
    await managed.revoke(made["id"])
    assert door.caller({}).name == "anonymous"


async def test_what_cannot_be_a_key_is_refused() -> None:
    """A name with a comma; and any key while nobody could revoke it."""
    with pytest.raises(BadRequest):
        await ManagedKeys(MemoryStore(), Authenticator((), "a")).create(KeyWanted("a,b"))
    with pytest.raises(BadRequest, match="LLMROUTER_ADMIN_KEY"):
        await ManagedKeys(MemoryStore(), Authenticator()).create(KeyWanted("alice"))


async def test_a_damaged_record_takes_no_other_key_with_it() -> None:
    """It is logged and passed over."""
    store = MemoryStore()
    door = Authenticator((), "admin")
    managed = ManagedKeys(store, door)
    made = await managed.create(KeyWanted("alice"))
    await store.set_field(TABLE, "odd", b"{}")
    await managed.refresh()
    assert door.caller(bearer(made["key"])).name == "alice"


async def test_limits_are_of_a_name_and_reach_every_worker() -> None:
    """Set when a key is made or later; keys of one name share them, and null ends them."""
    store = MemoryStore()
    heard: list[dict[str, object]] = []

    async def hear(limits: Mapping[str, object]) -> None:
        heard.append(dict(limits))

    managed = ManagedKeys(store, Authenticator((), "admin"))
    other = ManagedKeys(store, Authenticator((), "admin"), hear)
    first = await managed.create(KeyWanted("alice", limits={"requests": "60/m"}))
    second = await managed.create(KeyWanted("alice"))
    await managed.create(KeyWanted("bob"))
    assert second["limits"] == {"requests": "60/m"}
    await other.refresh()
    assert heard.pop() == {"alice": {"requests": "60/m"}}
    changed = await managed.change(first["id"], {"limits": {"spend_usd": "5/d"}, "tier": "pro"})
    assert (changed["limits"], changed["tier"]) == ({"spend_usd": "5/d"}, "pro")
    assert [one["limits"] for one in await managed.keys()] == [{"spend_usd": "5/d"}] * 2 + [None]
    await managed.change(second["id"], {"limits": None})
    await other.refresh()
    assert heard.pop() == {}
    with pytest.raises(NotFound):
        await managed.change("key_x", {"tier": None})


async def test_a_key_may_be_an_admins() -> None:
    """So that versions of the catalog name who made them; it ends like any other."""
    door = Authenticator((), "admin")
    managed = ManagedKeys(MemoryStore(), door)
    made = await managed.create(KeyWanted("carol", admin=True))
    caller = door.caller(bearer(made["key"]))
    door.may_administer(caller)
    assert (caller.name, caller.admin) == ("carol", True)
    await managed.revoke(made["id"])
    with pytest.raises(NoKey):
        door.may_administer(door.caller(bearer(made["key"])))


async def test_the_environments_keys_are_listed_beside_them() -> None:
    """Without an id, because they are not changed here."""
    managed = ManagedKeys(MemoryStore(), Authenticator(ENVIRONMENT, "admin"))
    await managed.create(KeyWanted("alice"))
    shown = [(one["id"] is None, one["name"], one["managed"]) for one in await managed.keys()]
    assert shown == [(True, "env", False), (False, "alice", True)]
