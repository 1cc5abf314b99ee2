"""POST /catalog/check: whether edited files could serve, while they are being typed.

Nothing is written and nothing recorded is replayed: the files are read, checked and held against
each other in this process, which takes milliseconds.
"""

from __future__ import annotations

import orjson
from aiohttp import web

from llmrouter.api.body_reader import read_body
from llmrouter.api.dependencies import SERVICES
from llmrouter.api.error_response import JSON
from llmrouter.api.handlers.canary import check_path
from llmrouter.api.request_parser import parse_object
from llmrouter.api.router_options import wrong_type
from llmrouter.errors import Problem


async def check(request: web.Request) -> web.Response:
    """`{"files": {path: text or null}}` over what is on disk: its problems and its warnings."""
    services = request.app[SERVICES]
    files = parse_object(await read_body(request, services)).get("files")
    if not isinstance(files, dict) or not all(
        text is None or isinstance(text, str) for text in files.values()
    ):
        raise wrong_type("files", "an object of texts (or null) by path", files)
    for path in files:
        check_path(path)
    assert services.check is not None, "the path exists only where edits are"  # noqa: S101
    problems, warnings = await services.check(files)
    body = {
        "ok": not problems,
        "problems": [_shown(problem) for problem in problems],
        "warnings": [_shown(problem) for problem in warnings],
    }
    return web.Response(body=orjson.dumps(body), headers={"Content-Type": JSON})


def _shown(problem: Problem) -> dict[str, object]:
    return {"file": problem.file, "line": problem.line, "message": problem.message}
