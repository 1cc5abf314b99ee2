"""Finds out whether servers of this machine that need no key are running, before a request does.

Where `llmrouter run` starts, a target such as Ollama is usually not there: without a look, the
first requests would be decided for it and fail over. Nothing but a connection is made.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from llmrouter.domain.catalog import Catalog
from llmrouter.upstream.health import TargetHealth
from llmrouter.util.addresses import on_loopback
from llmrouter.util.tasks import repeatedly

EVERY_S: Final = 5.0
CONNECT_S: Final = 0.5


class LocalProbe:
    """Rests keyless targets of loopback addresses while nothing listens there."""

    def __init__(self, catalog: Callable[[], Catalog], health: TargetHealth) -> None:
        self._catalog = catalog
        self._health = health

    async def run(self) -> None:
        """Look again every few seconds until cancelled."""
        await repeatedly(self.look, EVERY_S)

    async def look(self) -> None:
        """One look at every such target, at once."""
        targets = {
            target.id: target.base_url
            for target in self._catalog().enabled
            if target.api_key_env is None and on_loopback(target.base_url)
        }
        found = await asyncio.gather(*map(_listens, targets.values()))
        for (name, base_url), there in zip(targets.items(), found, strict=True):
            if not there:
                self._health.cooldown(name, 2 * EVERY_S, f"nothing listens at {base_url}")


async def _listens(base_url: str) -> bool:
    url = urlsplit(base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(url.hostname, port)
    except TimeoutError:
        return True  # a machine that is busy is no server that is missing
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
