"""API keys that an admin makes and revokes while the service runs, beside the environment's.

They are fields of a table in the store, by their hash alone; every worker reads the table twice a
second. A store that is down leaves the keys as they were read last.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class KeyWanted:
    """A key to be made: whose it is, its plan tier, and the targets it may reach (None: all)."""

    name: str
    tier: str | None = None
    allow: Sequence[str] | None = None


class ManagedKeys:
    """Makes, lists and revokes keys, and keeps an `Authenticator` up to date."""

    def __init__(
        self, store: Store, authenticator: Authenticator, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._authenticator = authenticator
        self._clock = clock

    async def run(self) -> None:
        """Keep up with the store until cancelled."""
        await self.refresh()
        await repeatedly(self.refresh, EVERY_S)

    async def refresh(self) -> None:
        """Read the keys and let the authenticator know them."""
        try:
            records = await self._records()
        except StoreFailed as failure:
            log.warning("keys not read: %s", failure)
            return
        self._authenticator.manage(
            [
                ApiKey(
                    one["name"],
                    bytes.fromhex(one["sha256"]),
                    one.get("tier"),
                    None if one.get("allow") is None else frozenset(one["allow"]),
                )
                for one in records.values()
            ]
        )

    async def create(self, wanted: KeyWanted) -> dict[str, Any]:
        """Make a key; `key` in what is returned is told this once. Raises BadRequest, StoreFailed.

        Without an admin key nobody could revoke it, so one must be configured.
        """
        if not self._authenticator.has_admin:
            raise BadRequest("set LLMROUTER_ADMIN_KEY before making keys", code="no_admin_key")
        try:
            secret, _ = new_key(wanted.name, wanted.tier)
        except KeysInvalid as error:
            raise BadRequest(str(error), param="name", code="invalid_value") from None
        record: dict[str, Any] = {
            "id": f"key_{secrets.token_hex(6)}",
            "name": wanted.name,
            "tier": wanted.tier,
            "allow": None if wanted.allow is None else sorted(wanted.allow),
            "created_at": self._clock(),
            "sha256": hashed(secret).hex(),
        }
        await self._store.set_field(TABLE, record["id"], orjson.dumps(record))
        await self.refresh()
        return {**_public(record), "key": secret}

    async def keys(self) -> list[dict[str, Any]]:
        """Every key without its hash, oldest first. Raises StoreFailed."""
        records = (await self._records()).values()
        return [_public(one) for one in sorted(records, key=lambda one: one["created_at"])]

    async def revoke(self, name: str) -> None:
        """End a key by its id. Raises NotFound, StoreFailed."""
        if name not in await self._records():
            raise NotFound(f"there is no key {name[:100]!r}", code="key_not_found")
        await self._store.set_field(TABLE, name, None)
        await self.refresh()

    async def _records(self) -> dict[str, dict[str, Any]]:
        found = {}
        for name, data in (await self._store.fields(TABLE)).items():
            try:
                record = orjson.loads(data)
                bytes.fromhex(record["sha256"])
                found[name] = record
            except (ValueError, KeyError, TypeError) as error:
                log.error("the key %s cannot be read: %s", name, error)
        return found


def _public(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record.get(name) for name in ("id", "name", "tier", "allow", "created_at")}
