"""API keys: who is asking, which tier they are on, and who may edit the catalog.

Keys are kept as digests alone: nothing here can print, log or compare a secret in the clear.
A lookup goes through a digest under a per-process random key, so its timing tells a guesser
nothing, and the match itself is compared in constant time. Without keys the service is open;
the composition root then refuses to bind to anything but loopback.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha256

from llmrouter.domain.chat import ANONYMOUS, Caller
from llmrouter.domain.patterns import compile_pattern
from llmrouter.errors import Forbidden, Unauthorized

_NAME = compile_pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAMES = "a name is up to 64 letters, digits, dots, dashes and underscores"
_DIGEST = compile_pattern(r"sha256[=$][0-9a-f]{64}")


class KeysInvalid(ValueError):
    """The configured keys cannot be read. The message names the entry, never its secret."""


class NoKey(Unauthorized):
    """No key, or one the service does not know; knows its `WWW-Authenticate` header."""

    def __init__(self, message: str, challenge: str) -> None:
        super().__init__(message)
        self.headers = {"WWW-Authenticate": challenge}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, hashed. `allow` limits the targets it may reach; `admin` may do what the
    admin key may."""

    name: str
    digest: bytes = field(repr=False)
    tier: str | None = None
    allow: frozenset[str] | None = None
    admin: bool = False


def hashed(secret: str) -> bytes:
    """SHA-256 of a secret, or the digest itself where `sha256=<hex>` is given instead."""
    if _DIGEST.fullmatch(secret):
        return bytes.fromhex(secret[7:])
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """Read `name:key:tier,…`; the tier is optional. Raises KeysInvalid.

    A key may also be given as `sha256=<64 hex digits>`. Two keys may share a name (so that one
    can be replaced without a gap), but not a secret.
    """
    keys: list[ApiKey] = []
    for position, entry in enumerate(text.split(","), 1):
        if not entry.strip():
            continue
        parts = [part.strip() for part in entry.split(":")]
        if len(parts) not in (2, 3) or not all(parts):
            raise KeysInvalid(f"API key {position}: write name:key or name:key:tier")
        if not _NAME.fullmatch(parts[0]):
            raise KeysInvalid(f"API key {position}: {_NAMES}")
        digest = hashed(parts[1])
        if any(hmac.compare_digest(digest, key.digest) for key in keys):
            raise KeysInvalid(f"API key {position}: the same key is given twice")
        keys.append(ApiKey(parts[0], digest, parts[2] if len(parts) == 3 else None))
    return tuple(keys)


def new_key(name: str, tier: str | None = None) -> tuple[str, str]:
    """A fresh secret and the entry that knows it by its hash alone. Raises KeysInvalid."""
    if not _NAME.fullmatch(name):
        raise KeysInvalid(_NAMES)
    if tier and (tier != tier.strip() or "," in tier or ":" in tier):
        raise KeysInvalid("a tier holds no comma and no colon, and no space around it")
    secret = f"lr-{secrets.token_urlsafe(32)}"
    return secret, f"{name}:sha256={hashed(secret).hex()}" + (f":{tier}" if tier else "")


class Authenticator:
    """Turns a request's headers into a Caller.

    `isolate` gives each key's name its own namespace of decisions, sessions and cached entries.
    """

    def __init__(
        self, keys: Sequence[ApiKey] = (), admin: str | None = None, *, isolate: bool = False
    ) -> None:
        self._salt = os.urandom(32)
        self._known: dict[bytes, tuple[bytes, Caller]] = {}
        for key in keys:
            tenant = key.name if isolate else ""
            self._learn(key.digest, Caller(key.name, key.tier, tenant, key.allow))
        self.fixed = tuple(keys)
        self._managed: dict[bytes, tuple[bytes, Caller]] = {}
        self.open = not keys
        self.isolates = isolate
        self.has_admin = bool(admin)
        if admin:
            self._learn(hashed(admin), Caller("admin", admin=True))

    def manage(self, keys: Sequence[ApiKey]) -> None:
        """Know these keys beside the ones it was made with, and no others."""
        managed: dict[bytes, tuple[bytes, Caller]] = {}
        for key in keys:
            index = self._index(key.digest)
            tenant = key.name if self.isolates else ""
            caller = Caller(key.name, key.tier, tenant, key.allow, key.admin)
            known = self._managed.get(index)
            # an equal caller stays the same object: what is memoised for it stays valid
            same = known is not None and known[1] == caller
            managed[index] = known if same and known is not None else (key.digest, caller)
        self._managed = managed
        self.open = not (self.fixed or managed)

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._known)} keys>"

    def _learn(self, digest: bytes, caller: Caller) -> None:
        self._known[self._index(digest)] = (digest, caller)

    def _index(self, digest: bytes) -> bytes:
        return blake2b(digest, digest_size=16, key=self._salt).digest()

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """Who these headers speak for; an open service knows everyone. Raises Unauthorized."""
        if self.open and not self.has_admin:
            return ANONYMOUS
        secret = _presented(headers)
        if secret is not None:
            digest = sha256(secret.encode("utf-8", "surrogateescape")).digest()
            index = self._index(digest)
            known = self._known.get(index) or self._managed.get(index)
            if known is not None and hmac.compare_digest(known[0], digest):
                return known[1]
        if self.open:
            return ANONYMOUS
        if secret is None:
            raise NoKey(
                "an API key is needed: send it as `Authorization: Bearer …` or `x-api-key: …`",
                'Bearer realm="llmrouter"',
            )
        raise NoKey("this API key is not known", 'Bearer realm="llmrouter", error="invalid_token"')

    def may_administer(self, caller: Caller) -> None:
        """Raise Forbidden unless the caller may edit the catalog and see what is everyone's.

        An open service without an admin key lets everyone: it listens on loopback alone.
        """
        if caller.admin or (self.open and not self.has_admin):
            return
        if not self.has_admin:
            raise Forbidden("this call needs the admin key, and none is configured")
        if caller is ANONYMOUS:
            raise NoKey("this call needs the admin key", 'Bearer realm="llmrouter admin"')
        raise Forbidden("this call needs the admin key")


def _presented(headers: Mapping[str, str]) -> str | None:
    """The secret a request carries, if any; `Authorization: Bearer` wins over `x-api-key`."""
    authorization = headers.get("Authorization")
    if authorization is not None:
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "bearer" and rest.strip():
            return rest.strip()
    return headers.get("x-api-key") or None


OPEN = Authenticator()
