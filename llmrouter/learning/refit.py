"""The fitting process: examples in on standard input, a model out on standard output.

    python -m llmrouter.learning.refit [SPACE WIDTH] < examples > model.bin

Run apart from the service, so that fitting never takes its event loop or its memory. Eight bytes
give the length of the examples, one JSON line each; after them come their vectors (float32, WIDTH
a row) where an encoder that must be asked gave them. Text goes through a pipe and is never written
to disk.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence

import numpy as np
import orjson

from llmrouter.learning.encoders import Vectors
from llmrouter.learning.model import Example, PreferenceModel

FIT_LIMIT_S = 600.0


class FitFailed(Exception):
    """The fitting process gave no model; the message is the end of what it said."""


def pack(examples: Iterable[Example]) -> bytes:
    """Examples as JSON lines."""
    return b"\n".join(
        orjson.dumps({"text": e.text, "grades": e.grades, "weights": e.weights, "task": e.task})
        for e in examples
    )


def unpack(lines: bytes) -> list[Example]:
    """The examples of JSON lines."""
    rows = (orjson.loads(line) for line in lines.splitlines() if line)
    return [Example(r["text"], r["grades"], r["weights"], r["task"]) for r in rows]


async def refit(examples: Sequence[Example], vectors: Vectors | None = None) -> PreferenceModel:
    """Fit in another process, at low priority. Raises FitFailed.

    `vectors`, one row an example, say what space the model reads; without, it learns its own.
    """
    packed = await asyncio.to_thread(_framed, examples, vectors)
    space = [] if vectors is None else [vectors.name, str(vectors.rows.shape[1])]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "llmrouter.learning.refit",
        *space,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(FIT_LIMIT_S):
            model, said = await process.communicate(packed)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise FitFailed(said.decode(errors="replace")[-500:])
    return await asyncio.to_thread(PreferenceModel.from_bytes, model)


def _framed(examples: Sequence[Example], vectors: Vectors | None) -> bytes:
    lines = pack(examples)
    rows = b"" if vectors is None else np.ascontiguousarray(vectors.rows, "<f4").tobytes()
    return len(lines).to_bytes(8, "big") + lines + rows


def main() -> None:
    """Read, fit, write."""
    import os

    os.nice(10)
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from llmrouter.learning.fit import fit

    given = sys.stdin.buffer.read()
    lines, rest = given[8 : 8 + int.from_bytes(given[:8], "big")], given[8:]
    vectors = None
    if len(sys.argv) == 3:
        rows = np.frombuffer(rest[len(lines) :], "<f4").reshape(-1, int(sys.argv[2]))
        vectors = Vectors(sys.argv[1], rows.astype(np.float32))
    fitted = fit(unpack(lines), encoder=vectors)
    sys.stdout.buffer.write(fitted.model.to_bytes())


if __name__ == "__main__":
    main()
