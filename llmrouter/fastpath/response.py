"""An answer that is all there: status line, headers and body leave in one write.

`web.Response` prepares an answer in nine steps, because it may be chunked, compressed, cookied or
begun before its body is known. A routed answer is none of these, and the steps cost it more than
its decision did. What a plain answer on an HTTP/1.1 connection that stays open does not need is
left out here; every other case is left to `web.Response`. No `on_response_prepare` hears of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import __version__, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from llmrouter.util.http_headers import field_lines

log = logging.getLogger(__name__)

try:
    from aiohttp.helpers import rfc822_formatted_time
    from aiohttp.http import SERVER_SOFTWARE, HttpVersion11
except ImportError:  # private parts of aiohttp: without them its own way is used
    usable = False
    log.warning("aiohttp %s lacks what fastpath.response needs: its own is used", __version__)
else:
    usable = __version__.startswith("3.14.")

_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class FullResponse(web.Response):
    """A `web.Response` of bytes; `headers` name its type. Fields may be added until it is sent."""

    _sent = False

    def __init__(self, body: bytes, headers: Mapping[str, str], status: int = 200) -> None:
        web.StreamResponse.__init__(self, status=status)
        self._body = self._bytes = body
        self._given: Mapping[str, str] | None = headers

    @property
    def headers(self) -> CIMultiDict[str]:
        """All fields, those given included, once somebody wants to add one."""
        given, self._given = self._given, None
        if given is not None:
            self._headers.extend(given)
        return self._headers

    @property
    def prepared(self) -> bool:
        """Whether it is on its way."""
        return self._sent or super().prepared

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it."""
        line = _LINES.get(self._status)
        if (
            not usable
            or line is None
            or request.version != HttpVersion11
            or not request.keep_alive
            or self._keep_alive is False
            or self._cookies is not None
            or self._compression
            or request.method == "HEAD"
            or not self._bytes
        ):
            _ = self.headers  # makes those given its own
            return await super().prepare(request)
        self._sent = self._keep_alive = True
        fields = self._headers if self._given is None else self._given
        head = field_lines(fields)
        writer = request.writer
        await writer.write(
            f"{line}{head}Content-Length: {len(self._bytes)}\r\nDate: {rfc822_formatted_time()}\r\n"
            f"Server: {SERVER_SOFTWARE}\r\n\r\n".encode()
            + self._bytes
        )
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """End it."""
        if not self._sent:
            await super().write_eof(data)
