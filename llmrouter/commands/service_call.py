"""Calls of the running service by commands, with the admin key where there is one."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Annotated, Any

import typer

from llmrouter.commands.common import fail, settings_of

TIMEOUT_S = 30.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listened on, called by loopback

Url = Annotated[
    str | None,
    typer.Option(help="The service. [default: LLMROUTER_HOST, _PORT and _BASE_PATH]"),
]


def base_url(url: str | None) -> str:
    """Where the service is, without a slash at the end. Raises typer.Exit."""
    from llmrouter.settings import base_of

    if url is None:
        settings = settings_of(None, None, None, None)
        host = EVERYWHERE.get(settings.host, settings.host)
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{settings.port}{base_of(settings.base_path)}"
    if not url.startswith(("http://", "https://")):
        raise fail(f"--url cannot be {url!r}: write http://host:port")
    return url.rstrip("/")


def call(url: str | None, method: str, path: str, body: object = None) -> dict[str, Any]:
    """An answer of the running service. Raises typer.Exit with what it says."""
    base = base_url(url)
    headers = {"content-type": "application/json"}
    if key := os.environ.get("LLMROUTER_ADMIN_KEY"):
        headers["authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(base + path, data, headers, method=method)  # noqa: S310 - see above
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:  # noqa: S310 - see above
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        with error:
            said = error.read().decode(errors="replace")
        try:
            said = json.loads(said)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            said = said[:300]
        raise fail(said, 1) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise fail(f"no service answers at {base}: {reason}", 1) from None
