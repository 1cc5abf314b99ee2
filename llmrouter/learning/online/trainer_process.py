"""The fitting process: lessons in on standard input, a model out on standard output.

    python -m llmrouter.learning.online.trainer_process [SPACE] < lessons > model.bin

Run apart from the service, so that fitting never takes its event loop or its memory. Each lesson
(see `lessons`) comes after four bytes of its length. SPACE names the encoder that gave the lessons'
vectors, where the model is not to learn an encoder of its own; lessons without are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterable, Iterator
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from llmrouter.learning.encoders.text_encoder import Vectors
from llmrouter.learning.model.quality_model import QualityModel
from llmrouter.learning.online.training_example import TrainingExample
from llmrouter.util.extras import installed

FIT_LIMIT_S = 600.0


class FitFailed(Exception):
    """The fitting process gave no model; the message is the end of what it said."""


async def refit(lessons: Iterable[bytes], space: str = "") -> tuple[bytes, QualityModel]:
    """Fit on packed lessons in another process, at low priority: the model, packed and ready.

    Raises FitFailed.
    """
    with TemporaryFile() as said:
        process = _started(space, said)
        try:
            async with asyncio.timeout(FIT_LIMIT_S):
                packed = await asyncio.to_thread(_exchange, process, lessons)
        except BaseException:
            process.kill()  # which ends the exchange as well
            await asyncio.to_thread(process.wait)
            raise
        if process.returncode != 0:
            said.seek(0)
            raise FitFailed(said.read().decode(errors="replace")[-500:])
    return packed, await asyncio.to_thread(QualityModel.from_bytes, packed)


def _started(space: str, said: IO[bytes]) -> subprocess.Popen[bytes]:
    """The fitting process. Not by the event loop, which would copy this one's page tables first."""
    command = [
        sys.executable,
        "-m",
        "llmrouter.learning.online.trainer_process",
        *([space] if space else []),
    ]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said)  # noqa: S603


def _exchange(process: subprocess.Popen[bytes], lessons: Iterable[bytes]) -> bytes:
    """In a thread: one lesson at a time goes in, then what the process wrote comes out.

    Read as one block: joined from the pieces of a pipe, a model would leave megabytes of holes.
    """
    framed = (len(one).to_bytes(4, "big") + one for one in lessons)
    with process:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), process.stdin:  # its exit status tells why
                process.stdin.writelines(framed)
        return process.stdout.read() if process.stdout is not None else b""


def unframed(data: bytes) -> Iterator[bytes]:
    """The frames of what `_exchange` writes."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def fitted_on(lessons: Iterable[TrainingExample], space: str = "") -> QualityModel:
    """The model that lessons make; with `space` on the vectors that its encoder gave.

    Without the extra `learn` it is a memory of the lessons alone.
    """
    from llmrouter.learning.model.fit_settings import MEMORY_ALONE, OF_TRAFFIC
    from llmrouter.learning.model.training import fit

    rows = [one for one in lessons if not space or one.space == space]
    vectors = None
    if space:
        table = [one.vector for one in rows if one.vector is not None]
        vectors = Vectors(space, np.stack(table) if table else np.zeros((0, 1), np.float32))
    settings = OF_TRAFFIC if installed("learn") else MEMORY_ALONE
    return fit([one.example() for one in rows], settings, encoder=vectors).model


def main() -> None:
    """Read, fit, write."""
    import os

    os.nice(10)
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    lessons = map(TrainingExample.from_bytes, unframed(sys.stdin.buffer.read()))
    model = fitted_on(lessons, "".join(sys.argv[1:2]))
    sys.stdout.buffer.write(model.to_bytes())


if __name__ == "__main__":
    main()
