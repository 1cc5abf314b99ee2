"""What proves to an upstream who is asking: a key in a header, a token, or a signature.

Keys are read for every call, so one that is rotated is seen at once: a variable costs nothing, a
file is read again when it changes. Tokens and AWS credentials are fetched ahead of their end, in a
thread, while the old ones still hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from llmrouter.domain.target import Endpoint, Target
from llmrouter.errors import UpstreamFailure

_HEADERS = {"bearer": "Authorization", "x-api-key": "x-api-key", "azure": "api-key"}
_MAX_KEY_BYTES = 16 * 1024


class Signer(Protocol):
    """Credentials that have to be fetched or computed (`cloud_credentials`)."""

    async def headers(self, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """The headers that sign this POST. Raises UpstreamFailure."""
        ...


class Credentials:
    """The headers that authenticate a call. `env` reads a variable by its name.

    `signer` makes the signer of an `auth` kind that is not a plain key: `aws` or `google`.
    """

    def __init__(
        self, env: Callable[[str], str | None], signer: Callable[[str], Signer] | None = None
    ) -> None:
        self._env = env
        self._make = signer or _cloud_signer
        self._signers: dict[str, Signer] = {}
        self._files: dict[str, tuple[int, str]] = {}

    def signer(self, target: Target) -> Signer | None:
        """What signs calls of this target, or None where a key alone does."""
        if target.auth not in ("aws", "google"):
            return None
        known = self._signers.get(target.auth)
        if known is None:
            known = self._signers[target.auth] = self._make(target.auth)
        return known

    def headers(self, target: Target, endpoint: Endpoint) -> dict[str, str]:
        """The header with the key, or none. Raises UpstreamFailure `misconfigured`."""
        header = _HEADERS.get(target.auth)
        path, variable = target.access.api_key_file, endpoint.api_key_env
        if header is None or (path is None and variable is None):
            return {}
        if path is not None:
            source, key = f"the file {Path(path).name}", self._read(target, path)
        else:
            source, key = f"the variable {variable}", self._env(variable or "") or ""
        if not key:
            state = "is empty" if path is not None else "is not set"
            raise UpstreamFailure("misconfigured", f"{target.id}: {source} {state}")
        if not key.isascii() or not key.isprintable():
            raise UpstreamFailure("misconfigured", f"{target.id}: {source} holds no valid key")
        return {header: f"Bearer {key}" if target.auth == "bearer" else key}

    def _read(self, target: Target, path: str) -> str:
        """The key in a file. A stat a call; reading a key of a few bytes blocks no longer."""
        try:
            changed = os.stat(path).st_mtime_ns
            known = self._files.get(path)
            if known is None or known[0] != changed:
                with open(path, "rb") as file:
                    key = file.read(_MAX_KEY_BYTES).decode().strip()
                known = self._files[path] = (changed, key)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            message = f"{target.id}: the file {Path(path).name} cannot be read: {reason}"
            raise UpstreamFailure("misconfigured", message) from None
        return known[1]


def _cloud_signer(kind: str) -> Signer:
    from llmrouter.upstream.cloud_credentials import AwsSigner, GoogleSigner

    return AwsSigner() if kind == "aws" else GoogleSigner()
