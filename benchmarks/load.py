"""A small keep-alive load generator: fixed requests over a few connections, bounded in count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import uvloop


@dataclass(slots=True)
class Load:
    """What was sent and what came back: seconds per request, and how often each status."""

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


def post(port: int, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """One HTTP/1.1 request as bytes."""
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"{more}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _connection(port: int, requests: list[bytes], load: Load) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        at = lowered.index(b"content-length:") + 15
        await reader.readexactly(int(lowered[at : lowered.index(b"\r", at)]))
        load.seconds.append(time.perf_counter() - started)
        status = int(head[9:12])
        load.statuses[status] = load.statuses.get(status, 0) + 1
    writer.close()
    await writer.wait_closed()


def run(port: int, requests: list[bytes], connections: int = 8) -> Load:
    """Send every request once, spread over the connections."""
    load = Load()

    async def all_of_them() -> None:
        shares = [requests[n::connections] for n in range(connections)]
        await asyncio.gather(*(_connection(port, share, load) for share in shares if share))

    uvloop.run(all_of_them())
    return load
