"""POST /catalog/check: whether edited files could serve, while they are being typed.

Nothing is written and nothing recorded is replayed: the files are read, checked and held against
each other in this process, which takes milliseconds.
"""

from __future__ import annotations

import orjson
from aiohttp import web

from llmrouter.api.body_reader import read_object
from llmrouter.api.dependencies import SERVICES
from llmrouter.api.error_response import JSON
from llmrouter.api.handlers.catalog_files import edited_texts
from llmrouter.errors import Problem


async def check(request: web.Request) -> web.Response:
    """`{"files": {path: text or null}}` over what is on disk: its problems and its warnings."""
    services = request.app[SERVICES]
    files = edited_texts((await read_object(request, services)).get("files"))
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
