"""Keys over HTTP: made, limited, listed and revoked; what is refused; what counts at once."""

from __future__ import annotations

from typing import Any

import pytest

from llmrouter.api.dependencies import Dependencies
from llmrouter.auth.api_keys import Authenticator, parse_keys
from llmrouter.auth.managed_keys import ManagedKeys
from llmrouter.ratelimit.key_limits import RateLimiter
from llmrouter.ratelimit.policies import policies_of
from llmrouter.store.memory import MemoryStore
from tests.api.fakes import client_of, services
from tests.api.handlers.test_catalog import bearer
from tests.api.test_openapi import check

ADMIN = bearer("sk-admin")
HI = {"prompt": "hi"}


def keyed() -> Dependencies:
    """A service with one key of the environment, and an admin key."""
    store, keyring = MemoryStore(), Authenticator(parse_keys("env:sk-env"), "sk-admin")
    limits = RateLimiter({}, store)
    managed = ManagedKeys(store, keyring, lambda wanted: limits.manage(policies_of(wanted)))
    return services(keyring=keyring, managed_keys=managed, limits=limits)


async def test_a_key_is_made_limited_and_revoked_without_a_restart() -> None:
    """Its quota counts from the first request, and its use is shown to the admin."""
    async with client_of(keyed()) as client:
        wanted = {"name": "alice", "limits": {"requests": "2/h"}}
        check("KeyWanted", wanted)
        made = await client.post("/keys", wanted, headers=ADMIN)
        assert (made.status, made.headers["Cache-Control"]) == (201, "no-store")
        check("NewKey", made.json)
        alice = bearer(made.json["key"])
        first = await client.post("/route", HI, headers=alice)
        assert (first.status, first.headers["x-ratelimit-limit-requests"]) == (200, "2")
        await client.post("/route", HI, headers=alice)
        assert (await client.post("/route", HI, headers=alice)).status == 429
        listed = (await client.get("/keys", headers=ADMIN)).json
        check("Keys", listed)
        assert [(one["name"], one["managed"]) for one in listed["keys"]] == [
            ("env", False), ("alice", True),
        ]  # fmt: skip
        assert listed["keys"][1]["usage"] == [
            {"unit": "requests", "limit": 2.0, "used": 2.0, "window_s": 3600.0},
        ]  # fmt: skip
        path = f"/keys/{made.json['id']}"
        changed = await client.call("PATCH", path, json={"limits": None}, headers=ADMIN)
        assert (changed.status, changed.json["limits"]) == (200, None)
        assert (await client.post("/route", HI, headers=alice)).status == 200
        assert (await client.call("DELETE", path, headers=ADMIN)).status == 204
        assert (await client.post("/route", HI, headers=alice)).status == 401


@pytest.mark.parametrize(
    ("method", "body", "param"),
    [
        ("POST", {"name": 7}, "name"),
        ("POST", {"name": "a,b"}, "name"),
        ("POST", {"name": "a", "allow": "small"}, "allow"),
        ("POST", {"name": "a", "limits": "requests=60/m"}, "limits"),
        ("POST", {"name": "a", "limits": {"requests": "60"}}, "limits"),
        ("POST", {"name": "a", "limits": {"rps": "1/s"}}, "limits"),
        ("POST", {"name": "a", "admin": "yes"}, "admin"),
        ("POST", {"name": "a", "teir": "pro"}, "teir"),
        ("PATCH", {"name": "a"}, "name"),
        ("PATCH", {"tier": 7}, "tier"),
        ("PATCH", {}, None),
    ],
)
async def test_what_does_not_fit_is_refused_with_its_place(
    method: str, body: dict[str, Any], param: str | None
) -> None:
    """And no key is made."""
    path = "/keys" if method == "POST" else "/keys/key_1"
    async with client_of(keyed()) as client:
        answer = await client.call(method, path, json=body, headers=ADMIN)
        assert (answer.status, answer.error["param"]) == (400, param)
        assert len((await client.get("/keys", headers=ADMIN)).json["keys"]) == 1


async def test_keys_are_the_admins_alone() -> None:
    """A key makes no key; one that is not there is a 404."""
    async with client_of(keyed()) as client:
        for method, path in (("GET", "/keys"), ("POST", "/keys"), ("DELETE", "/keys/key_1")):
            assert (await client.call(method, path, headers=bearer("sk-env"))).status == 403
        assert (await client.call("DELETE", "/keys/key_1", headers=ADMIN)).status == 404
        body = {"tier": "pro"}
        assert (await client.call("PATCH", "/keys/key_1", json=body, headers=ADMIN)).status == 404
