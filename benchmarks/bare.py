"""The yardsticks: a bare aiohttp handler (A), a bare aiohttp proxy (B), and a span sink."""

from __future__ import annotations

import sys

import aiohttp
import orjson
import uvloop
from aiohttp import web

ANSWER = orjson.dumps({"target": "constant", "reason": "x" * 400})


async def constant(request: web.Request) -> web.Response:
    """A: parse the body, answer a constant."""
    orjson.loads(await request.read())
    return web.Response(body=ANSWER, content_type="application/json")


def proxy(upstream: str) -> web.Application:
    """B: read the body, post it upstream, answer with what came back."""
    app = web.Application()

    async def session(app: web.Application):  # type: ignore[no-untyped-def]
        app["session"] = aiohttp.ClientSession()
        yield
        await app["session"].close()

    async def relay(request: web.Request) -> web.Response:
        body = await request.read()
        headers = {"content-type": "application/json"}
        async with request.app["session"].post(upstream, data=body, headers=headers) as reply:
            return web.Response(
                status=reply.status, body=await reply.read(), content_type=reply.content_type
            )

    app.cleanup_ctx.append(session)
    app.router.add_post("/v1/chat/completions", relay)
    return app


async def sink(request: web.Request) -> web.Response:
    """Takes exported spans and metrics, and forgets them."""
    await request.read()
    return web.Response(content_type="application/x-protobuf")


async def serve(app: web.Application, port: int) -> None:
    """Run an application until the process is ended."""
    import asyncio

    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def main() -> None:
    """`python -m benchmarks.bare constant|proxy|sink PORT [UPSTREAM]`."""
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "proxy":
        app = proxy(sys.argv[3])
    else:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/{path:.*}", constant if kind == "constant" else sink)
    uvloop.run(serve(app, port))


if __name__ == "__main__":
    main()
