"""Starts the embedded models' servers and stops them again."""

from __future__ import annotations

import contextlib
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from llmrouter.embedded.models import EmbeddedModel, EmbeddedUnavailable

START_S = 120.0
"""How long a server may take to load its model: seconds on a busy machine."""


@contextlib.contextmanager
def running(models: Sequence[EmbeddedModel]) -> Iterator[Mapping[str, str]]:
    """The base URL of each model's server, by the model's name. Raises EmbeddedUnavailable."""
    with contextlib.ExitStack() as stack:
        yield {model.name: stack.enter_context(_server(model)) for model in models}


@contextlib.contextmanager
def _server(model: EmbeddedModel) -> Iterator[str]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, our own module
            [sys.executable, "-m", "llmrouter.embedded.server", str(model.path), model.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            yield _address(process, log, model)
        finally:
            _stop(process)


def _address(process: subprocess.Popen[bytes], log: IO[bytes], model: EmbeddedModel) -> str:
    """The line in which the server says where it listens."""
    out = process.stdout
    assert out is not None  # noqa: S101 - it was asked for as a pipe
    ready, _, _ = select.select([out], [], [], START_S)
    line = out.readline().decode().strip() if ready else ""
    if line.startswith("http"):
        return line
    log.seek(0)
    said = log.read().decode(errors="replace").strip().splitlines()
    reason = said[-1] if said else f"no answer within {START_S:.0f} s"
    raise EmbeddedUnavailable(f"the embedded model {model.name} did not start: {reason}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
