"""API keys that an admin makes, limits and revokes without a restart, beside the environment's.

They are fields of a table in the store, by their hash alone; every worker reads the table twice a
second. A store that is down leaves the keys as they were read last. Limits are of a name: keys that
share one share them.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from llmrouter.auth.api_keys import ApiKey, Authenticator, KeysInvalid, hashed, new_key
from llmrouter.domain.interfaces import Store
from llmrouter.errors import BadRequest, NotFound, StoreFailed
from llmrouter.util.tasks import repeatedly

log = logging.getLogger(__name__)

TABLE: Final = "keys"
EVERY_S: Final = 0.5
CHANGEABLE: Final = ("tier", "allow", "limits")

Limits = Mapping[str, str]
"""What a key may use in a span, such as `{"requests": "60/m", "spend_usd": "5/d"}`."""
Restrict = Callable[[tuple[ApiKey, ...]], tuple[ApiKey, ...]]
OnLimits = Callable[[Mapping[str, Limits]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class KeyWanted:
    """A key to be made: whose it is, its plan tier, the targets it may reach (None: all), its
    limits, and whether it may do what the admin key may."""

    name: str
    tier: str | None = None
    allow: Sequence[str] | None = None
    limits: Limits | None = None
    admin: bool = False


async def _unlimited(limits: Mapping[str, Limits]) -> None:
    """Where no limiter listens."""


class ManagedKeys:
    """Makes, lists, changes and revokes keys, and keeps an `Authenticator` up to date.

    `on_limits` is told the limits of every name that has some; `restrict` takes targets away that
    the environment's limits do not allow a key.
    """

    def __init__(
        self,
        store: Store,
        authenticator: Authenticator,
        on_limits: OnLimits = _unlimited,
        restrict: Restrict = lambda keys: keys,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._authenticator = authenticator
        self._on_limits = on_limits
        self._restrict = restrict
        self._clock = clock

    async def run(self) -> None:
        """Keep up with the store until cancelled."""
        await self.refresh()
        await repeatedly(self.refresh, EVERY_S)

    async def refresh(self) -> None:
        """Read the keys and let the authenticator and the limiter know them."""
        try:
            records = await self._records()
        except StoreFailed as failure:
            log.warning("keys not read: %s", failure)
            return
        keys = tuple(map(_key, records.values()))
        self._authenticator.manage(self._restrict(keys))
        limits = {one["name"]: one["limits"] for one in records.values() if one.get("limits")}
        await self._on_limits(limits)

    async def create(self, wanted: KeyWanted) -> dict[str, Any]:
        """Make a key; `key` in what is returned is told this once. Raises BadRequest, StoreFailed.

        Without an admin key it could not be revoked, so one must be configured. Without limits of
        its own it has those of its name.
        """
        if not self._authenticator.has_admin:
            raise BadRequest("set LLMROUTER_ADMIN_KEY before making keys", code="no_admin_key")
        try:
            secret, _ = new_key(wanted.name, wanted.tier)
        except KeysInvalid as error:
            raise BadRequest(str(error), param="name", code="invalid_value") from None
        records = await self._records()
        shared = [one.get("limits") for one in records.values() if one["name"] == wanted.name]
        record: dict[str, Any] = {
            "id": f"key_{secrets.token_hex(6)}",
            "name": wanted.name,
            "tier": wanted.tier,
            "allow": None if wanted.allow is None else sorted(wanted.allow),
            "limits": next(iter(shared), None),
            "admin": wanted.admin,
            "created_at": self._clock(),
            "sha256": hashed(secret).hex(),
        }
        records[record["id"]] = record
        await self._write(records, record, {"limits": wanted.limits} if wanted.limits else {})
        return {**_public(record), "key": secret}

    async def change(self, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set some of `CHANGEABLE` of a key, by its id. Raises NotFound, StoreFailed."""
        records = await self._records()
        record = _found(records, name)
        await self._write(records, record, changes)
        return _public(record)

    async def keys(self) -> list[dict[str, Any]]:
        """Every key without its hash, the environment's first, then by age. Raises StoreFailed."""
        fixed = [
            {
                **dict.fromkeys(("id", "limits", "created_at")),
                "name": one.name,
                "tier": one.tier,
                "allow": None if one.allow is None else sorted(one.allow),
                "admin": False,
                "managed": False,
            }
            for one in self._authenticator.fixed
        ]
        records = (await self._records()).values()
        return fixed + [_public(one) for one in sorted(records, key=lambda one: one["created_at"])]

    async def revoke(self, name: str) -> None:
        """End a key by its id. Raises NotFound, StoreFailed."""
        _found(await self._records(), name)
        await self._store.set_field(TABLE, name, None, durable=True)
        await self.refresh()

    async def _write(
        self,
        records: Mapping[str, dict[str, Any]],
        record: dict[str, Any],
        changes: Mapping[str, Any],
    ) -> None:
        """Write a changed record, and every other of its name whose limits change with it."""
        record.update(changes)
        written = [record]
        if "limits" in changes:
            written = [one for one in records.values() if one["name"] == record["name"]]
        for one in written:
            if "limits" in changes:
                one["limits"] = changes["limits"]
            await self._store.set_field(TABLE, one["id"], orjson.dumps(one), durable=True)
        await self.refresh()

    async def _records(self) -> dict[str, dict[str, Any]]:
        found = {}
        for name, data in (await self._store.fields(TABLE)).items():
            try:
                record = orjson.loads(data)
                _key(record)
                found[name] = record
            except (ValueError, KeyError, TypeError) as error:
                log.error("the key %s cannot be read: %s", name, error)
        return found


def _found(records: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
    if name not in records:
        raise NotFound(f"there is no key {name[:100]!r}", code="key_not_found")
    return records[name]


def _key(record: Mapping[str, Any]) -> ApiKey:
    allow = record.get("allow")
    return ApiKey(
        record["name"],
        bytes.fromhex(record["sha256"]),
        record.get("tier"),
        None if allow is None else frozenset(allow),
        bool(record.get("admin")),
    )


def _public(record: Mapping[str, Any]) -> dict[str, Any]:
    names = ("id", "name", "tier", "allow", "limits", "created_at")
    shown = {name: record.get(name) for name in names}
    return {**shown, "admin": bool(record.get("admin")), "managed": True}
