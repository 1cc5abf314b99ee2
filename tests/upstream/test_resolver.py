"""Tests of connections to names that lead to a refused address."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver

from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.completion import UpstreamRequest
from llmrouter.domain.embedding_space import encoder_spec
from llmrouter.domain.target import Price, Target
from llmrouter.errors import EncoderFailed, RouterLLMFailed, UpstreamFailure
from llmrouter.upstream.client import UpstreamClient
from llmrouter.upstream.embeddings import OpenAIEmbeddings
from llmrouter.upstream.resolver import CheckedResolver, connector
from llmrouter.upstream.router_client import RouterClient
from llmrouter.util.addresses import address_policy

METADATA = "169.254.169.254"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and their addresses; a test changes them while connections are made."""
    known: dict[str, list[str]] = {}

    async def resolve(
        self: object, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=one,
                port=port,
                family=family,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for one in known[host]
        ]

    monkeypatch.setattr(ThreadedResolver, "resolve", resolve)
    return known


async def test_refused_addresses_of_a_name_are_left_out(names: dict[str, list[str]]) -> None:
    """A name that has others is reached there; one that has none is refused, with the remedy."""
    names.update({"two.example": ["fe80::1", "10.0.0.1"], "bad.example": [METADATA]})
    resolver = CheckedResolver(address_policy([]))
    assert [one["host"] for one in await resolver.resolve("two.example")] == ["10.0.0.1"]
    with pytest.raises(OSError, match="LLMROUTER_CATALOG_HOSTS"):
        await resolver.resolve("bad.example")
    allowing = CheckedResolver(address_policy(["bad.example"]))
    assert [one["host"] for one in await allowing.resolve("bad.example")] == [METADATA]
    await resolver.close()


async def test_every_client_of_models_refuses_a_rebound_name(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Targets both ways, the router LLM and the encoder: none connects to where the name leads."""
    names["rebound.example"] = [METADATA]
    reached: list[Any] = []

    async def connect(*given: Any, **_: Any) -> Any:
        reached.append(given)
        raise OSError("no connection in this test")

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", connect)
    url = "http://rebound.example/v1"
    target = Target("t", "m", "openai", url, Price(1, 1), 1000, "d")
    for fast in (True, False):
        client = UpstreamClient(fast=fast)
        with pytest.raises(UpstreamFailure) as failed:
            async with client.send(UpstreamRequest(target, b"{}", False, 5.0, {})):
                raise AssertionError("it must not connect")
        assert failed.value.kind == "connect"
        await client.close()
    chat = RouterClient({})
    with pytest.raises(RouterLLMFailed) as refused:
        await chat.post(RouterLLM("m", url, retries=0), "/decisions", {}, 5.0)
    assert refused.value.kind == "connect"
    await chat.close()
    encoder = OpenAIEmbeddings(encoder_spec(f"openai:m@{url}"))
    with pytest.raises(EncoderFailed) as unreached:
        await encoder.embed(["x"])
    assert unreached.value.kind == "connect"
    await encoder.close()
    assert reached == []


async def test_an_address_that_a_file_names_is_the_operators() -> None:
    """It is not looked up, so it is not refused here; edits over HTTP are held to it earlier."""
    made = connector()
    assert isinstance(made, aiohttp.TCPConnector)
    assert (await made._resolve_host(METADATA, 80))[0]["host"] == METADATA
    await made.close()
