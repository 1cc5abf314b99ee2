"""The fitting process: examples in on standard input, a model out on standard output.

    python -m llmrouter.learning.refit < examples.jsonl > model.bin

Run apart from the service, so that fitting never takes its event loop or its memory. A line is
`{"text", "grades": {target: 0..1}, "weights": {target: w}, "task"?}`; text goes through a pipe and
is never written to disk.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence

import orjson

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


async def refit(examples: Sequence[Example]) -> PreferenceModel:
    """Fit in another process, at low priority. Raises FitFailed."""
    packed = await asyncio.to_thread(pack, examples)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "llmrouter.learning.refit",
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


def main() -> None:
    """Read, fit, write."""
    import os

    os.nice(10)
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from llmrouter.learning.fit import fit

    fitted = fit(unpack(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(fitted.model.to_bytes())


if __name__ == "__main__":
    main()
