"""Every call of the real service that takes a body bounds it: key first, then size, then what it
holds."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio

from llmrouter.api.app import ROUTED, Access, paths_of
from llmrouter.api.dependencies import SERVICES
from tests.api.calls import bearer
from tests.test_bootstrap import Running, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
ADMIN, KEY = bearer("sk-admin"), bearer("sk-mine")
BODILESS = {
    ("DELETE", "/catalog/{id}"),
    ("DELETE", "/keys/{id}"),
    ("DELETE", "/prompts/{path:.+}"),
    ("POST", "/canary/promote"),
    ("POST", "/canary/stop"),
    ("POST", "/learning/rollback"),
    ("POST", "/prompts/versions/{version}/revert"),
}
"""Calls that read no body: what they are sent is passed over."""
DEEP = b'{"prompt":' + b"[" * 30 + b"]" * 30 + b"}"
WIDE = b'{"prompt":"hi","x":[' + b"1," * 300 + b"1]}"
PACKED = {"Content-Encoding": "gzip"}
BOMB = gzip.compress(b" " * 40_000_000)
JSON = {"Content-Type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A service with keys, and narrow bounds."""
    bounds: dict[str, Any] = {"max_json_values": 200, "max_json_depth": 20, "max_body_mb": 0.05}
    with pytest.MonkeyPatch.context() as patch:
        keys = {"api_keys": "me:sk-mine", "admin_key": "sk-admin"}
        async with running(tmp_path_factory.mktemp("up"), patch, **bounds, **keys) as found:
            yield found


def calls(up: Running) -> list[tuple[str, str]]:
    """Every call that may have a body, by its method and path."""
    paths = paths_of(up.service.app[SERVICES])
    told = [(one.method, one.path) for one in paths if one.method != "GET"]
    return [*told, *(("POST", path) for path in ROUTED)]


async def sent(
    up: Running, call: tuple[str, str], body: bytes, **headers: str
) -> tuple[int, dict[str, Any]]:
    """Status and error of a call."""
    method, path = call
    path = (
        path.replace("{id}", "small").replace("{path:.+}", "routing.yaml").replace("{version}", "1")
    )
    async with up.client.request(method, path, data=body, headers={**JSON, **headers}) as answer:
        text = await answer.read()
        assert answer.status in (204,) or answer.content_type == "application/json", (call, text)
        return answer.status, orjson.loads(text).get("error", {}) if text else {}


async def test_every_body_is_bounded_by_the_settings(up: Running) -> None:
    """Depth and values are refused with the setting's name, packed or not, on every path."""
    unbounded = set()
    for call in calls(up):
        for body, setting in ((DEEP, "JSON_DEPTH"), (WIDE, "JSON_VALUES")):
            for sent_body, encoding in ((body, {}), (gzip.compress(body), PACKED)):
                status, error = await sent(up, call, sent_body, **ADMIN, **encoding)
                if status != 400 or f"LLMROUTER_MAX_{setting}" not in error.get("message", ""):
                    unbounded.add(call)
    assert unbounded <= BODILESS


async def test_no_body_is_unpacked_or_read_without_its_key(up: Running) -> None:
    """A packed body without a key is a 401 everywhere, and with one a 413 where it is read."""
    assert len(BOMB) < 50_000
    for call in calls(up):
        assert (await sent(up, call, BOMB, **PACKED))[0] == 401, call
        status, _ = await sent(up, call, BOMB, **PACKED, **ADMIN)
        assert status == 413 or call in BODILESS, call
        status, _ = await sent(up, call, b"x" * 60_000, **ADMIN)
        assert status == 413 or call in BODILESS, call
        for odd in ("br", "gzip, gzip", "identity, gzip"):
            status, _ = await sent(up, call, b"{}", **{"Content-Encoding": odd}, **ADMIN)
            assert status == 415 or call in BODILESS, call


async def test_every_admin_door_needs_the_admin_key(up: Running) -> None:
    """No key is a 401, another key a 403, for every method of every path that is the operator's."""
    for path in paths_of(up.service.app[SERVICES]):
        if path.access is Access.ADMIN:
            call = path.method, path.path
            assert (await sent(up, call, b"{}"))[0] == 401, call
            assert (await sent(up, call, b"{}", **KEY))[0] == 403, call
    async with aiohttp.ClientSession(up.client._base_url) as stranger:
        for trick in ("/catalog//small", "/./catalog/small", "/CATALOG/small", "/catalog/small/"):
            async with stranger.put(trick, data=b"x") as answer:
                assert answer.status in (401, 404, 405), trick


async def test_names_of_keys_paths_and_addresses_are_for_the_admin_key(up: Running) -> None:
    """Metrics and readiness answer everyone, and say these to the operator alone."""
    await sent(up, ("POST", "/complete"), b'{"prompt":"hi"}', **KEY)
    holder = up.service.holder
    (up.directory / "routing.yaml").write_text("default: nobody\n")
    async with asyncio.timeout(30):
        while not holder.problems:  # noqa: ASYNC110 - a file on disk sets no event
            await asyncio.sleep(0.02)
    seen = {}
    for who, headers in (("anyone", {}), ("key", KEY), ("admin", ADMIN)):
        async with (
            up.client.get("/metrics", headers=headers) as metrics,
            up.client.get("/readyz", headers=headers) as ready,
        ):
            seen[who] = await metrics.text(), await ready.text(), metrics.status
    names = 'key="me"', "server_address", "routing.yaml", str(up.directory)
    metrics, ready, _ = seen["admin"]
    assert [name in metrics + ready for name in names] == [True, True, True, False]
    for who in ("anyone", "key"):
        metrics, ready, status = seen[who]
        assert status == 200
        assert "gen_ai_client_operation_duration" in metrics
        assert not any(name in metrics + ready for name in names)
        assert "the admin key sees which" in ready
