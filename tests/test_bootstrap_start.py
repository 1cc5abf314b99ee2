"""Starting: what is refused before the first request, and what all replicas share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmrouter.bootstrap import Misconfigured, check_exposure, service, shared_secret
from llmrouter.errors import CatalogInvalid, StoreFailed
from llmrouter.settings import Settings
from llmrouter.store.memory import MemoryStore
from tests.catalog.prompts_dir import written


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_without_keys_it_stays_on_loopback(host: str) -> None:
    """A service anyone could use, and pay for with our keys, does not start."""
    with pytest.raises(Misconfigured, match="refusing to listen on"):
        check_exposure(Settings(host=host, _env_file=None))
    check_exposure(Settings(host=host, api_keys="a:key-a-0123456789", _env_file=None))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.9.10"])
def test_loopback_needs_no_key(host: str) -> None:
    """Trying it out is one command."""
    check_exposure(Settings(host=host, _env_file=None))


@pytest.mark.parametrize("directory", ["absent", "empty"])
async def test_without_a_catalog_it_does_not_start(tmp_path: Path, directory: str) -> None:
    """And says what is missing."""
    prompts = tmp_path / "prompts"
    if directory == "empty":
        prompts.mkdir()
    with pytest.raises(CatalogInvalid, match="prompts"):
        async with service(
            Settings(prompts=prompts, store=f"disk:{tmp_path / 'store'}", _env_file=None)
        ):
            pytest.fail("it started")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"store": "mongodb://x"}, "LLMROUTER_STORE"),
        ({"api_keys": "only-a-name"}, "API_KEYS"),
        ({"key_limits": "nonsense"}, "KEY_LIMITS"),
        ({"api_keys": "alice:k", "key_limits": "alcie requests=1/s"}, "no key called alcie"),
        ({"key_limits": "alice requests=1/s"}, "there are anonymous"),
    ],
)
async def test_wrong_settings_are_said_at_the_start(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    """Not at the first request."""
    prompts = written(tmp_path / "prompts")
    given = {"prompts": prompts, "store": f"disk:{tmp_path / 'store'}", **wrong}
    with pytest.raises(Misconfigured, match=said):
        async with service(Settings(**given, _env_file=None)):
            pytest.fail("it started")


async def test_replicas_on_one_store_share_the_fingerprint_key() -> None:
    """Else no replica would find what another cached."""
    store = MemoryStore()
    first = await shared_secret(store)
    assert len(first) == 64
    assert await shared_secret(store) == first
    assert await shared_secret(MemoryStore()) != first


class Down(MemoryStore):
    """A store that is down."""

    async def get(self, key: str) -> bytes | None:
        """Fails."""
        raise StoreFailed("down")

    async def put(self, key: str, value: bytes, ttl_s: float | None) -> None:
        """Fails."""
        raise StoreFailed("down")


async def test_a_store_that_is_down_does_not_keep_it_from_starting() -> None:
    """It has a key for as long as it lives, and no fixed one."""
    assert len(await shared_secret(Down())) == 64
    assert await shared_secret(Down()) != await shared_secret(Down())
