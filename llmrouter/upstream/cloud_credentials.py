"""AWS signatures (Bedrock) and Google access tokens (Vertex AI), by their vendors' libraries.

The libraries are extras: `pip install botocore` and `pip install google-auth`. Both read the
credentials that their other tools read: environment, files, or the machine's own role.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from llmrouter.errors import UpstreamFailure
from llmrouter.util.tasks import Background

AHEAD_S: Final = 300.0
"""How long before its end a token is fetched anew; it lives for an hour."""
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class AwsSigner:
    """Signature version 4 with botocore; service and region are read from the host's name."""

    def __init__(self) -> None:
        self._session: Any = None
        self._loading = asyncio.Lock()

    async def headers(self, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """Implements `Signer`."""
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
        except ImportError:
            raise _missing("botocore", "auth: aws") from None
        frozen = await self._credentials()
        service, region = place_of(url)
        request = AWSRequest("POST", url, headers=dict(headers), data=body)
        SigV4Auth(frozen, service, region).add_auth(request)
        signed = dict(request.headers.items())
        return {name: signed[name] for name in signed if name not in headers}

    async def _credentials(self) -> Any:
        async with self._loading:
            # Both steps may read files or ask the machine's metadata service.
            credentials = await asyncio.to_thread(self._load)
            if credentials is None:
                raise UpstreamFailure("misconfigured", "auth: aws: botocore finds no credentials")
            return credentials

    def _load(self) -> Any:
        from botocore.session import Session

        if self._session is None:
            self._session = Session()
        credentials = self._session.get_credentials()
        return None if credentials is None else credentials.get_frozen_credentials()


def place_of(url: str) -> tuple[str, str]:
    """The service and region that a Bedrock address names: `bedrock-runtime.REGION.amazonaws.com`.

    Signatures name the service `bedrock`, whatever its host is called.
    """
    labels = (urlsplit(url).hostname or "").split(".")
    region = labels[1] if len(labels) > 2 and labels[-2] == "amazonaws" else "us-east-1"
    service = labels[0].split("-")[0] if labels[-2:-1] == ["amazonaws"] else "bedrock"
    return service, region


class GoogleSigner:
    """An access token of the application default credentials, by google-auth."""

    def __init__(self) -> None:
        self._credentials: Any = None
        self._ends_at = 0.0
        self._fetching = asyncio.Lock()
        self._background = Background()

    async def headers(self, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """Implements `Signer`."""
        del url, headers, body
        left_s = self._ends_at - time.time()
        if left_s <= 0:
            await self._refresh(0.0)
        elif left_s < AHEAD_S and not self._fetching.locked():
            self._background.start(self._refresh(AHEAD_S), "google token")
        return {"Authorization": f"Bearer {self._credentials.token}"}

    async def _refresh(self, ahead_s: float) -> None:
        """A new token, unless one that lives longer than `ahead_s` came while waiting."""
        async with self._fetching:
            if self._ends_at - time.time() <= ahead_s:
                await asyncio.to_thread(self._fetch)

    def _fetch(self) -> None:
        try:
            import google.auth
            from google.auth.exceptions import GoogleAuthError
            from google.auth.transport.requests import Request
        except ImportError:
            raise _missing("google-auth requests", "auth: google") from None
        try:
            if self._credentials is None:
                self._credentials, _ = google.auth.default(scopes=[_SCOPE])
            self._credentials.refresh(Request())
        except GoogleAuthError as error:
            message = f"auth: google: {str(error)[:200]}"
            raise UpstreamFailure("misconfigured", message) from None
        expiry = self._credentials.expiry  # naive, in UTC
        self._ends_at = time.time() + 3600.0 if expiry is None else _seconds(expiry)


def _seconds(expiry: Any) -> float:
    from datetime import UTC

    return float(expiry.replace(tzinfo=UTC).timestamp())


def _missing(packages: str, what: str) -> UpstreamFailure:
    return UpstreamFailure("misconfigured", f"{what} needs a package: pip install {packages}")
