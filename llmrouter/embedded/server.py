"""One llama.cpp server as a process of its own: `python -m llmrouter.embedded.server MODEL NAME`.

It binds a free port of loopback, writes its base URL as one line to standard output, and serves
until its standard input closes. The parent holds the other end, so a parent that is killed leaves
no server behind.
"""

from __future__ import annotations

import os
import signal
import sys

CONTEXT_TOKENS = 8192
SLOTS = 2
"""Requests at once. They share one context, so each may use all of it while the other is idle."""


def main(path: str, name: str) -> None:
    """Serve the GGUF file at `path` under the model name `name`."""
    import xllamacpp

    for number in (signal.SIGINT, signal.SIGTERM):  # sent to a whole group: the parent drains first
        signal.signal(number, signal.SIG_IGN)
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = SLOTS
    params.kv_unified = True
    for pool in (params.cpuparams, params.cpuparams_batch):
        pool.n_threads = threads()
        pool.poll = 0  # waiting threads sleep: spinning ones starve the service beside them
    params.cache_prompt = True
    params.warmup = True
    params.verbosity = 0
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1", flush=True)  # noqa: T201 - the parent reads this line
    sys.stdin.buffer.read()
    os._exit(0)  # llama.cpp's threads do not all end by themselves


def threads() -> int:
    """Threads for a forward pass: the machine's cores, at most eight."""
    return max(1, min(8, os.cpu_count() or 1))


if __name__ == "__main__":
    main(*sys.argv[1:3])
