"""The commands. Exit codes: 0 done, 1 the answer is no, 2 wrong usage."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmrouter import __version__
from llmrouter.commands.canary import canary_app
from llmrouter.commands.catalog_import import catalog_import
from llmrouter.commands.common import (
    Host,
    Json,
    Port,
    PromptsDir,
    Workers,
    fail,
    refused,
    settings_of,
)
from llmrouter.commands.report import report
from llmrouter.commands.route import route
from llmrouter.commands.top import top
from llmrouter.commands.train import train
from llmrouter.environment import load_env
from llmrouter.errors import CatalogInvalid, ExtraMissing, LLMRouterError
from llmrouter.evaluation.benchmark.arguments import EvalCommand, eval_command
from llmrouter.util.arguments import JsonCommand
from llmrouter.util.json_output import print_json
from llmrouter.util.log_filters import StoreDownFilter

if TYPE_CHECKING:
    from llmrouter.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # rich takes longer to load than a command to print its help
)
catalog_app = typer.Typer(
    help="Check, compare and restore the files in prompts/.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(catalog_app, name="catalog")
app.add_typer(canary_app, name="canary")
app.command("eval", cls=EvalCommand)(eval_command)


def main() -> None:
    """Run the command line; the exit code says how it went."""
    load_env()
    level = os.environ.get("LLMROUTER_LOG_LEVEL", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        sys.exit(f"llmrouter: LLMROUTER_LOG_LEVEL cannot be {level}; write DEBUG, INFO or WARNING")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(StoreDownFilter())
    for chatty in ("watchfiles", "httpx2", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        app()
    except ExtraMissing as missing:
        sys.exit(refused(str(missing)))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llmrouter {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Decides which LLM should answer a request, explains why, and executes it there."""


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    prompts: PromptsDir = None,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    ready_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start the service."""
    _serve(settings_of(host, port, workers, prompts), fd, ready_fd)


def _serve(
    settings: Settings,
    fd: int | None = None,
    ready_fd: int | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    import socket

    from llmrouter.bootstrap import check_exposure, overrides
    from llmrouter.catalog.loader import load
    from llmrouter.commands.init import listens
    from llmrouter.commands.startup_report import report
    from llmrouter.server.worker import bind, run_worker, run_workers
    from llmrouter.settings import base_of, unknown

    try:
        check_exposure(settings)
        if fd is not None:
            run_worker(settings, socket.socket(fileno=fd), ready_fd=ready_fd)
            return
        for warning in unknown():
            logging.getLogger(__name__).warning("%s", warning)
        catalog = load(settings.prompts, overrides())
        listening = bind(settings.host, settings.port)
        if announce is not None:
            host, port = listening.getsockname()[:2]
            announce(f"http://{host}:{port}{base_of(settings.base_path)}")
        report(catalog, os.environ, listens)
        if settings.workers == 1:
            run_worker(settings, listening)
            return
        arguments = ["--host", settings.host, "--port", str(settings.port)]
        arguments += ["--prompts", str(settings.prompts), "--workers", str(settings.workers)]
        raise typer.Exit(run_workers(listening, settings.workers, arguments))
    except OSError as error:
        raise fail(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None
    except CatalogInvalid as invalid:
        raise fail(f"the catalog cannot be served:\n{invalid}", 1) from None
    except LLMRouterError as error:
        raise fail(error.message) from None


@app.command("init")
def init_command(
    directory: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("prompts"),
    everything: Annotated[
        bool, typer.Option("--all", help="Every shipped target, whether its key is set or not.")
    ] = False,
    key: Annotated[
        list[str] | None,
        typer.Option(help="A variable whose key is there, though not set here; may be repeated."),
    ] = None,
    no_input: Annotated[
        bool, typer.Option("--no-input", help="Ask nothing: the variables that are set count.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a prompts/ directory with the targets whose keys are there.

    On a terminal it asks which those are.
    """
    from llmrouter.commands.init import InitOptions, init, on_a_terminal

    asks = sys.stdin.isatty() and not (everything or key or no_input or json)
    ask = on_a_terminal if asks else None
    raise typer.Exit(init(InitOptions(directory, everything, key or (), ask, json)))


@app.command()
def demo(
    host: Host = None, port: Port = None, workers: Workers = None, prompts: PromptsDir = None
) -> None:
    """Start the service in front of a simulated upstream: no key, no network."""
    from llmrouter.server.worker import bind

    settings = settings_of(host, port, workers, prompts)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the server has its own
    with bind("127.0.0.1", 0) as listening:  # it takes connections before the simulator is up
        sim_port, fd = listening.getsockname()[1], listening.fileno()
        simulator = subprocess.Popen(  # noqa: S603 - this program itself
            [sys.executable, "-m", "llmrouter", "sim", "--fd", str(fd)], pass_fds=(fd,)
        )
    os.environ["LLMROUTER_DEMO_UPSTREAM"] = f"http://127.0.0.1:{sim_port}/v1"
    try:
        _serve(settings, announce=partial(_announce, "answers come from a SIMULATED upstream"))
    finally:
        simulator.terminate()
        simulator.wait()


@app.command()
def run(
    host: Host = None, port: Port = None, workers: Workers = None, prompts: PromptsDir = None
) -> None:
    """Start the service with a small local model that judges and answers: no key, no network."""
    import json

    from llmrouter.embedded.launcher import running
    from llmrouter.embedded.models import EmbeddedUnavailable, installed

    settings = settings_of(host, port, workers, prompts)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the server has its own
    try:
        models = installed()
        names = ", ".join(model.name for model in models)
        typer.echo(f"starting {names} ...", err=True)
        with running(models) as urls:
            os.environ["LLMROUTER_EMBEDDED_UPSTREAMS"] = json.dumps(dict(urls))
            answers = f"{names} judges and answers: a real model, and a tiny one"
            _serve(settings, announce=partial(_announce, answers))
    except EmbeddedUnavailable as error:
        raise fail(error.message, 1) from None


def _announce(answers: str, base: str) -> None:
    json = "-H 'content-type: application/json'"
    typer.echo(
        f"""
llmrouter is at {base} (console: {base}/), {answers}. Try:

  curl -s {base}/route {json} -d '{{"prompt": "Summarise: the cat sat on the mat."}}'
  curl -s {base}/complete {json} -d '{{"prompt": "Prove that sqrt(2) is irrational."}}'
  curl -sN {base}/v1/chat/completions {json} \\
    -d '{{"model": "auto", "stream": true, "messages": [{{"role": "user", "content": "Hi"}}]}}'
""",
        color=False,
    )
    sys.stdout.flush()


@app.command()
def sim(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 9100,
    latency_scale: Annotated[
        float, typer.Option(min=0, help="Multiplies every simulated latency; 0 answers at once.")
    ] = 1.0,
    error_rate: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of requests that fail, on top of each model's own."),
    ] = 0.0,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start an OpenAI-compatible upstream that says it is simulated."""
    import socket

    import uvloop

    from llmrouter.simulator.app import SimOptions, serve

    options = SimOptions(latency_scale=latency_scale, error_rate=error_rate)
    listening = None if fd is None else socket.socket(fileno=fd)
    try:
        uvloop.run(serve(host, port, options, listening))
    except OSError as error:
        raise fail(f"cannot listen on {host}:{port}: {error.strerror}") from None


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is; shown in logs and figures.")],
    tier: Annotated[str | None, typer.Option(help="Its plan tier. [default: any]")] = None,
    json: Json = False,
) -> None:
    """Make an API key, and the entry for LLMROUTER_API_KEYS that knows it by its hash alone."""
    from llmrouter.auth.api_keys import KeysInvalid, new_key

    try:
        secret, entry = new_key(name, tier)
    except KeysInvalid as error:
        raise fail(str(error)) from None
    if json:
        print_json({"key": secret, "entry": entry})
        return
    typer.echo(f"{secret}\n{entry}")
    if sys.stdout.isatty():
        typer.echo(
            "\nThe first line is the key: it is stored nowhere. The second goes into", err=True
        )
        typer.echo(
            "LLMROUTER_API_KEYS, its sha256=… part alone into LLMROUTER_ADMIN_KEY.", err=True
        )


app.command()(route)


app.command()(top)
app.command()(train)
app.command(cls=JsonCommand)(report)


@catalog_app.command("check")
def catalog_check(
    directory: Annotated[Path | None, typer.Argument(help="[default: prompts]")] = None,
    json: Json = False,
) -> None:
    """Validate prompts/: exit 0, or 1 with `file:line: what is wrong`."""
    from llmrouter.catalog.check_command import run_check

    settings = settings_of(None, None, None, directory)
    raise typer.Exit(run_check(settings.prompts, sys.stdout, as_json=json))


@catalog_app.command("diff")
def catalog_diff(
    to: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="The edited prompts directory.")
    ],
    directory: Annotated[
        Path | None,
        typer.Argument(exists=True, file_okay=False, help="What serves now. [default: prompts]"),
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="How many recorded requests to replay.")] = 1000,
    json: Json = False,
) -> None:
    """What an edited catalog would change: replays recorded requests against both."""
    from llmrouter.api.request_parser import Endpoint, parse
    from llmrouter.evaluation.catalog_diff.command import DiffOptions, run_diff

    logging.getLogger("llmrouter.learning").setLevel(logging.WARNING)
    settings = settings_of(None, None, None, directory)
    options = DiffOptions(settings.prompts, to, settings.store, last, json)
    raise typer.Exit(run_diff(options, lambda body: parse(body, Endpoint.COMPLETE)))


catalog_app.command("import")(catalog_import)


@catalog_app.command("undo")
def catalog_undo(
    target: Annotated[str, typer.Argument(help="The target's id.")],
    to: Annotated[str | None, typer.Option(help="A version; by default the one before.")] = None,
    prompts: PromptsDir = None,
    json: Json = False,
) -> None:
    """Bring back what a target's file held before its last edit."""
    from llmrouter.catalog.undo_command import run_undo

    settings = settings_of(None, None, None, prompts)
    raise typer.Exit(run_undo(settings.prompts, target, to, sys.stdout, as_json=json))
