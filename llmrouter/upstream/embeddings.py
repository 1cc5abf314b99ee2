"""Vectors of texts from any server with OpenAI's `/embeddings`.

It sends `encoding_format: float`, which every such server knows, puts the answer in the order of
the texts, and takes the mean where a server gives a vector for each token. Everything that can go
wrong becomes one EncoderFailed with a kind.

Redirects, cookies and proxies from the environment are not followed or used, and a call is not
retried, because its caller can do without. No key and no text gets into an error: of what the
server says, only its status and the error's code are passed on, since messages may quote the text.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import aiohttp
import orjson

from llmrouter.domain.embedding_space import EncoderSpec
from llmrouter.errors import EncoderFailed
from llmrouter.upstream.error_mapping import wait_s
from llmrouter.upstream.resolver import connector
from llmrouter.upstream.response_parser import parsed
from llmrouter.util.addresses import NO_METADATA, AddressPolicy

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
CONNECT_S: Final = 5.0


def _uncounted(_: int) -> None:
    """The default: tokens are not counted."""


class OpenAIEmbeddings:
    """Implements `Embeddings` for one model on one server.

    `key_env` names the variable that holds the key (None: no key is sent); it is read per call, so
    a rotated key is seen. `trace_headers` gives the W3C trace context of the current step, `spent`
    hears of the tokens that each answer says it took.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        key_env: str | None = None,
        env: Mapping[str, str] = os.environ,
        trace_headers: Callable[[], Mapping[str, str]] = dict,
        spent: Callable[[int], None] = _uncounted,
        *,
        addresses: AddressPolicy = NO_METADATA,
    ) -> None:
        self._addresses = addresses
        self._spec = spec
        self._key_env = key_env
        self._env = env
        self._trace_headers = trace_headers
        self._spent = spent
        self._session: aiohttp.ClientSession | None = None

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector a text, in order. Raises EncoderFailed. The caller bounds the wait."""
        key = self._key()
        asked = [_sendable(text) for text in texts]
        document = {"model": self._spec.model, "input": asked, "encoding_format": "float"}
        status, said, wait = await self._post(orjson.dumps(document), key)
        if status != 200:
            raise _refused(status, said, wait)
        answer = parsed(said) or {}
        if tokens := _tokens(answer):
            self._spent(tokens)
        return _vectors(answer, len(texts))

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _key(self) -> str | None:
        if self._key_env is None:
            return None
        key = self._env.get(self._key_env, "").strip()
        if not key:
            raise EncoderFailed("misconfigured", f"the variable {self._key_env} is not set")
        if not key.isascii() or not key.isprintable():
            raise EncoderFailed("misconfigured", f"the variable {self._key_env} holds no valid key")
        return key

    async def _post(self, body: bytes, key: str | None) -> tuple[int, bytes, float | None]:
        """Status and body, and the seconds that a refusal asks to wait."""
        headers = {"Content-Type": "application/json", **self._trace_headers()}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        url = f"{self._spec.base_url}/embeddings"
        session = self._session or self._open()
        try:
            async with session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                said = await response.content.read(MAX_BODY_BYTES + 1)
                while len(said) <= MAX_BODY_BYTES and (more := await response.content.readany()):
                    said += more
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, asyncio.TimeoutError):
                raise EncoderFailed("timeout", "no connection in time") from None
            raise EncoderFailed("connect", type(error).__name__) from None
        if len(said) > MAX_BODY_BYTES:
            raise EncoderFailed("malformed", f"the answer is over {MAX_BODY_BYTES} bytes")
        return response.status, said, wait_s(response.status, response.headers, time.time())

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=connector(self._addresses),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        )
        return self._session


def _sendable(text: str) -> str:
    """Servers refuse what is empty and what is not UTF-8."""
    text = text.encode("utf-8", "replace").decode()
    return text if text.strip() else "."


def _refused(status: int, said: bytes, wait: float | None) -> EncoderFailed:
    if 300 <= status < 400:
        why = "the server redirects: the address must be the final one"
        return EncoderFailed("misconfigured", f"{status}: {why}")
    error = (parsed(said) or {}).get("error")
    code = error.get("code") or error.get("type") if isinstance(error, dict) else None
    detail = f"{status} {code if isinstance(code, str) and code.isidentifier() else ''}".strip()
    if status == 429:
        return EncoderFailed("rate_limited", detail, retry_after_s=wait)
    return EncoderFailed("misconfigured" if status in (401, 403, 404) else "http", detail)


def _tokens(answer: Mapping[str, Any]) -> int:
    """What the server counted; 0 where it says nothing."""
    usage = answer.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and tokens > 0 else 0


def _vectors(answer: Mapping[str, Any], count: int) -> list[list[float]]:
    """The vectors of an answer, in the order of what was asked."""
    rows = answer.get("data")
    if not isinstance(rows, list) or len(rows) != count:
        raise EncoderFailed("malformed", f"the answer holds no {count} vectors")
    found: dict[int, list[float]] = {}
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise EncoderFailed("malformed", "a row of the answer is no object")
        vector, index = _pooled(row.get("embedding")), row.get("index", place)
        if vector is None:
            raise EncoderFailed("malformed", "an embedding is no list of numbers")
        if type(index) is int:
            found[index] = vector
    if found.keys() != set(range(count)) or len({len(one) for one in found.values()}) > 1:
        raise EncoderFailed("malformed", "the vectors do not belong to the texts one by one")
    return [found[index] for index in range(count)]


def _pooled(given: Any) -> list[float] | None:
    """One vector. A server that does not pool gives one a token, and their mean is the text's."""
    if not isinstance(given, list) or not given:
        return None
    tokens = given if isinstance(given[0], list) else [given]
    if any(
        not isinstance(token, list) or not token or not all(map(_is_number, token))
        for token in tokens
    ):
        return None
    if len({len(token) for token in tokens}) > 1:
        return None
    return [sum(column) / len(tokens) for column in zip(*tokens, strict=True)]


def _is_number(value: Any) -> bool:
    return type(value) in (float, int)
