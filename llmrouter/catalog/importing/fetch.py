"""Fetches a server's model listing; of Ollama's models also what `/api/show` tells."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import orjson

from llmrouter.catalog.importing.entry import ImportFailed
from llmrouter.catalog.importing.model_listing import is_ollama, with_show

TIMEOUT: Final = aiohttp.ClientTimeout(total=20)
_MOST_BYTES: Final = 32 * 1024 * 1024


def fetch_listing(address: str, key: str | None) -> tuple[Mapping[str, Any], str]:
    """The listing below an address, and the base URL that it was found at.

    `address` may end in `/models`, in `/v1`, or before it. Raises ImportFailed.
    """
    return asyncio.run(_fetch(address.rstrip("/").removesuffix("/models"), key))


async def _fetch(address: str, key: str | None) -> tuple[Mapping[str, Any], str]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    reasons = []
    async with aiohttp.ClientSession(timeout=TIMEOUT, headers=headers) as session:
        for base_url in (address, f"{address}/v1"):
            try:
                document = await _get(session, f"{base_url}/models")
            except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
                reasons.append(f"{base_url}/models: {str(error)[:200] or type(error).__name__}")
                continue
            if is_ollama(document):
                root = base_url.removesuffix("/v1")
                shown = [await _show(session, root, item) for item in document["data"]]
                document = {**document, "data": shown}
            return document, base_url
    raise ImportFailed("no model listing there: " + "; ".join(reasons))


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url) as response:
        if response.status != 200:
            raise ValueError(f"it answers {response.status}")
        body = await response.content.read(_MOST_BYTES)
        while not response.content.at_eof() and len(body) < _MOST_BYTES:
            body += await response.content.read(_MOST_BYTES - len(body))
    document = orjson.loads(body)
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        raise ValueError("the answer has no `data` list, as GET /v1/models has")
    return document


async def _show(session: aiohttp.ClientSession, root: str, item: dict[str, Any]) -> dict[str, Any]:
    """The model with its details; without them where the server gives none."""
    try:
        async with session.post(f"{root}/api/show", json={"model": item.get("id")}) as response:
            shown = await response.json(content_type=None) if response.status == 200 else {}
    except (aiohttp.ClientError, TimeoutError, ValueError):
        shown = {}
    return with_show(item, shown) if isinstance(shown, dict) else item
