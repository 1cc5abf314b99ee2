"""GET /: the console, one static page that reads the service's own JSON.

It embeds everything it needs and its policy forbids anything else, so what a model or a caller
wrote can be shown without being able to run.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from aiohttp import web

SCRIPTS = ("console.js", "editor.js")


@cache
def _page() -> tuple[bytes, dict[str, str]]:
    """The page and its headers; the policy names the page's own script and style by hash."""
    style, script = _text("style.css"), "".join(map(_text, SCRIPTS))
    text = _text("index.html")
    text = text.replace("<style></style>", f"<style>{style}</style>")
    text = text.replace("<script></script>", f"<script>{script}</script>")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _text(name: str) -> str:
    return files(__package__).joinpath("static", name).read_text("utf-8")


def _hash(inner: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()


async def page(request: web.Request) -> web.Response:
    """The page itself; it holds no data, so it needs no key."""
    body, headers = _page()
    return web.Response(body=body, headers=headers)
