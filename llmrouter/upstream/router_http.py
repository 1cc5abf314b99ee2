"""Posts JSON to a router LLM's server and reads the whole answer.

Its own connections over the transport that the relay uses: a client library costs a decision more
than everything else that the service does for it. It refuses redirects, proxies of the environment,
and answers beyond MAX_BYTES.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from yarl import URL

from llmrouter.errors import RouterLLMFailed, UpstreamFailure
from llmrouter.upstream.http_transport import read_body, transport
from llmrouter.util.addresses import NO_METADATA, AddressPolicy

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_ENDPOINTS: Final = 100
CONNECT_S: Final = 10.0
"""Seconds to connect. Requests give up earlier; this bounds an attempt that they left behind."""
_MAX_DETAIL = 300
_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "llmrouter",
}


class ServerRefused(Exception):
    """The server answered with another status than 2xx."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body
        self.headers = headers


class RouterHttp:
    """Connections to router LLMs' servers, kept open. `fast` and `addresses` as in
    `http_transport.transport`."""

    def __init__(self, *, fast: bool = True, addresses: AddressPolicy = NO_METADATA) -> None:
        self._transport = transport(None, CONNECT_S, fast=fast, addresses=addresses)
        self._endpoints: dict[str, Any] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """The body of a 2xx. Raises ServerRefused, or RouterLLMFailed (`connect`, `malformed`,
        `misconfigured`) where there is no answer to read.
        """
        endpoint = self._endpoint(url)
        try:
            reply = await self._transport.post(endpoint, headers, body)
            try:
                data = await read_body(reply, MAX_BYTES)
            finally:
                reply.leave()
        except UpstreamFailure as failure:
            raise RouterLLMFailed("malformed", failure.detail) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            encoding = "encoding" in str(error).lower()
            broken = isinstance(error, aiohttp.ClientPayloadError) and encoding
            detail = f"{type(error).__name__}: {error}"[:_MAX_DETAIL]
            raise RouterLLMFailed("malformed" if broken else "connect", detail) from error
        if not 200 <= reply.status < 300:
            raise ServerRefused(reply.status, data, reply.headers)
        return data

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    def _endpoint(self, url: str) -> Any:
        endpoint = self._endpoints.get(url)
        if endpoint is None:
            try:
                endpoint = self._transport.endpoint(URL(url), _HEADERS)
            except ValueError as error:
                detail = f"base_url is no address: {error}"[:_MAX_DETAIL]
                raise RouterLLMFailed("misconfigured", detail) from None
            if len(self._endpoints) >= MAX_ENDPOINTS:
                self._endpoints.clear()
            self._endpoints[url] = endpoint
        return endpoint


def joined(base_url: str, path: str) -> str:
    """The address of a path below a base URL, whose query stays at the end."""
    base, mark, query = base_url.partition("?")
    return f"{base.rstrip('/')}{path}{mark}{query}"
