"""GET /: the console, one static page that reads the service's own JSON.

It embeds everything it needs and its policy forbids anything else, so what a model or a caller
wrote can be shown without being able to run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from aiohttp import web


@cache
def _page() -> tuple[bytes, dict[str, str]]:
    """The page and its headers; the policy names the page's own script and style by hash."""
    text = files(__package__).joinpath("static", "index.html").read_text("utf-8")
    script, style = (_hash(text, tag) for tag in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _hash(text: str, tag: str) -> str:
    found = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    inner = found.group(1) if found else ""
    return "sha256-" + base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()


async def page(request: web.Request) -> web.Response:
    """The page itself; it holds no data, so it needs no key."""
    body, headers = _page()
    return web.Response(body=body, headers=headers)
