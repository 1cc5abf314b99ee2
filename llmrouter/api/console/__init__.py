"""GET / and /console/{file}: the console, a page of plain modules that reads the service's JSON.

Its policy allows the service's own files and nothing else: no inline script or style, no other
origin, and no way for a script to put text into the page as markup. So what a model or a caller
wrote can be shown without being able to run. Addresses in it are relative, so it works under a
base path.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final, NamedTuple

from aiohttp import web

from llmrouter.api.router_options import shown
from llmrouter.errors import NotFound

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
INDEX: Final = "index.html"


class Asset(NamedTuple):
    """One file: its bytes, its media type, and the tag that changes with it."""

    body: bytes
    media_type: str
    etag: str


@cache
def assets() -> dict[str, Asset]:
    """Every file of the console, by name."""
    found = {}
    for one in files(__package__).joinpath("static").iterdir():
        media_type = TYPES.get(one.name.rpartition(".")[2])
        if media_type is not None:
            body = one.read_bytes()
            found[one.name] = Asset(body, media_type, f'"{sha256(body).hexdigest()[:16]}"')
    return found


async def page(request: web.Request) -> web.Response:
    """The page itself; it holds no data, so it needs no key."""
    return _answer(request, assets()[INDEX])


async def file(request: web.Request) -> web.Response:
    """One of its scripts and styles. Raises NotFound."""
    name = request.match_info["file"]
    asset = assets().get(name)
    if asset is None or name == INDEX:
        raise NotFound(f"there is no {shown(name)} in the console", code="not_found")
    return _answer(request, asset)


def _answer(request: web.Request, asset: Asset) -> web.Response:
    """The file, or 304 where the browser has it: it asks each time, so an upgrade shows at once."""
    headers = {
        "Content-Type": asset.media_type,
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        "ETag": asset.etag,
    }
    if request.headers.get("If-None-Match") == asset.etag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, headers=headers)
