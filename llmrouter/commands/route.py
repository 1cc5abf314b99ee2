"""`llmrouter route`: one decision, without a server."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmrouter.commands.common import Json, PromptsDir, fail, settings_of
from llmrouter.errors import BadRequest, LLMRouterError
from llmrouter.util.json_output import print_json

if TYPE_CHECKING:
    from llmrouter.settings import Settings


def route(
    prompt: Annotated[str, typer.Argument(help="The prompt; `-` reads standard input.")],
    json: Json = False,
    prompts: PromptsDir = None,
) -> None:
    """Make one decision, without a server."""
    from llmrouter.bootstrap import Misconfigured

    text = _text(prompt)
    settings = settings_of(None, None, None, prompts)
    try:
        decision = asyncio.run(_decide(settings, text))
    except (BadRequest, Misconfigured) as error:
        raise fail(error.message) from None
    except LLMRouterError as error:
        raise fail(error.message, 1) from None
    if json:
        print_json(decision)
        return
    estimate = decision["estimate"]
    typer.echo(f"{decision['target']}  ({decision['source']}, task {decision['task']})")
    typer.echo(f"  why: {decision['reason']}")
    typer.echo(f"  about ${estimate['cost_usd']:.6f}, {estimate['latency_ms']:.0f} ms")
    for excluded in decision["excluded"]:
        typer.echo(f"  not {excluded['target']}: {excluded['reason']}")


def _text(prompt: str) -> str:
    """The prompt itself, or standard input where it is `-`."""
    try:
        text = sys.stdin.buffer.read().decode() if prompt == "-" else prompt.encode().decode()
    except UnicodeError:
        raise fail("the prompt is not UTF-8") from None
    if not text.strip():
        raise fail("the prompt is empty: give its text, or `-` and the text on standard input")
    return text


async def _decide(settings: Settings, text: str) -> dict[str, Any]:
    import orjson

    from llmrouter.api.request_parser import Endpoint, parse
    from llmrouter.bootstrap import service
    from llmrouter.domain.chat import ANONYMOUS

    request = parse(orjson.dumps({"prompt": text}), Endpoint.ROUTE)
    async with service(settings, environ=None) as built:
        return (await built.gateway.decide(request, ANONYMOUS)).public()
