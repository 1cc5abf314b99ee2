"""Looking whether a local server is there."""

from __future__ import annotations

import asyncio

from llmrouter.upstream.health import TargetHealth
from llmrouter.upstream.local_probe import LocalProbe
from tests.fakes import a_catalog, a_target


async def test_a_local_target_rests_while_nothing_listens_and_only_then() -> None:
    """A server that is there, one that needs a key and one elsewhere are left alone."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    catalog = a_catalog(
        a_target("there", base_url=f"http://127.0.0.1:{port}/v1", api_key_env=None),
        a_target("gone", base_url="http://localhost:9/v1", api_key_env=None),
        a_target("keyed", base_url="http://127.0.0.1:9/v1", api_key_env="KEY"),
        a_target("elsewhere", base_url="http://gone.test/v1", api_key_env=None),
    )
    now = [0.0]
    health = TargetHealth(clock=lambda: now[0])
    await LocalProbe(lambda: catalog, health).look()
    assert health.unavailable("gone") == (
        "nothing listens at http://localhost:9/v1, next try in 10 s"
    )
    assert [health.unavailable(one) for one in ("there", "keyed", "elsewhere")] == [None] * 3
    now[0] = 11.0  # nobody found it gone again
    assert health.unavailable("gone") is None
    server.close()
    await server.wait_closed()
