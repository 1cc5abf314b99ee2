"""A llama.cpp server with a tiny model of random weights, for tests and benchmarks.

The point is a server no one here wrote: `llama_cpp.server` refuses `json_schema`, constrains
`json_object` by a schema with a grammar of its own, and answers from a model that knows nothing.
What such a model says is noise, so whatever comes out right is the grammar's and ours to validate.

The model is built here (a few hundred kilobytes, fixed seed), never downloaded.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MODEL_NAME = "tiny-random"
CONTEXT_TOKENS = 16384
_EMBEDDING, _HEADS, _FEED_FORWARD, _LAYERS = 64, 4, 128, 2
_SEED = 7
_VERSION = 1  # part of the cached file's name: a changed builder never meets an old file
_CONTROL, _UNKNOWN, _NORMAL, _BYTE = 3, 2, 1, 6  # llama.cpp's token types
_CHAT_TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
_WORDS = (  # whole words, so that a prompt is not one token a character
    "the a and or to of in is it that for with as on at by this be are not from you your which "
    "when one target targets model models task tasks request user system prompt price input output "
    "per million tokens token context window answer question confidence reason capabilities tools "
    "vision json reasoning code math simple hard long short cheap choose strong small large"
)


def available() -> bool:
    """Whether the server can be started here. Where CI is set, a missing one is an error."""
    found = all(importlib.util.find_spec(name) for name in ("llama_cpp", "gguf", "uvicorn"))
    if not found and os.environ.get("CI"):
        raise RuntimeError("llama-cpp-python[server] and gguf must be installed in CI")
    return found


@dataclass(frozen=True, slots=True)
class LlamaServer:
    """A running server: its OpenAI-compatible `base_url` and where it logs."""

    base_url: str
    log: Path


@contextlib.contextmanager
def llama_server(
    *, logits_all: bool = False, embedding: bool = False, ready_s: float = 60.0
) -> Iterator[LlamaServer]:
    """Start the server on a free port, wait until it answers, and stop it at the end.

    `logits_all` lets it give log-probabilities; by default it refuses them. With `embedding` it
    gives vectors.
    """
    port = _free_port()
    command = [sys.executable, "-m", "llama_cpp.server"]
    command += ["--model", str(tiny_model()), "--model_alias", MODEL_NAME]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--n_ctx", str(CONTEXT_TOKENS), "--flash_attn", "True", "--verbose", "False"]
    command += ["--n_threads", "1", "--n_threads_batch", "1"]  # more would only wait for each other
    command += ["--logits_all", str(logits_all), "--embedding", str(embedding)]
    with tempfile.TemporaryDirectory(prefix="llama-") as folder, contextlib.ExitStack() as stack:
        log = Path(folder) / "server.log"
        out = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            base_url = f"http://127.0.0.1:{port}/v1"
            _wait_until_ready(process, base_url, log, ready_s)
            yield LlamaServer(base_url, log)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def tiny_model() -> Path:
    """The model's file, built once and kept in the temporary folder."""
    path = Path(tempfile.gettempdir()) / f"llmrouter-tiny-random-{_VERSION}.gguf"
    if not path.exists():
        fresh = path.with_suffix(f".{os.getpid()}")
        _build(fresh)
        fresh.replace(path)  # two processes may build at once; each leaves a whole file
    return path


def _build(path: Path) -> None:
    import gguf
    import numpy

    tokens, scores, types = _vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(MODEL_NAME)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(_EMBEDDING)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_EMBEDDING // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(_CHAT_TEMPLATE)
    random = numpy.random.default_rng(_SEED)

    def weights(name: str, *shape: int) -> None:
        writer.add_tensor(name, random.normal(0.0, 0.3, shape).astype(numpy.float32))

    def ones(name: str) -> None:
        writer.add_tensor(name, numpy.ones(_EMBEDDING, dtype=numpy.float32))

    weights("token_embd.weight", len(tokens), _EMBEDDING)
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        ones(f"{block}.attn_norm.weight")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights(f"{block}.{part}.weight", _EMBEDDING, _EMBEDDING)
        ones(f"{block}.ffn_norm.weight")
        weights(f"{block}.ffn_gate.weight", _FEED_FORWARD, _EMBEDDING)
        weights(f"{block}.ffn_up.weight", _FEED_FORWARD, _EMBEDDING)
        weights(f"{block}.ffn_down.weight", _EMBEDDING, _FEED_FORWARD)
    ones("output_norm.weight")
    weights("output.weight", len(tokens), _EMBEDDING)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _vocabulary() -> tuple[list[bytes], list[float], list[int]]:
    """SentencePiece-style: control tokens, 256 bytes, printable ASCII, words with their prefixes.

    The prefixes are there because the tokenizer builds a word by merging neighbours.
    """
    tokens, scores, types = [b"<unk>", b"<s>", b"</s>"], [0.0] * 3, [_UNKNOWN, _CONTROL, _CONTROL]
    for byte in range(256):
        tokens.append(f"<0x{byte:02X}>".encode())
        scores.append(0.0)
        types.append(_BYTE)
    pieces = [chr(code) for code in range(0x21, 0x7F)] + ["▁", "\n"]
    for word in _WORDS.split():
        pieces += [f"▁{word}"[:length] for length in range(2, len(word) + 2)]
    for place, piece in enumerate(dict.fromkeys(pieces)):
        tokens.append(piece.encode())
        scores.append(-float(place) if len(piece) == 1 else float(len(piece)))
        types.append(_NORMAL)
    return tokens, scores, types


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(
    process: subprocess.Popen[bytes], base_url: str, log: Path, ready_s: float
) -> None:
    end = time.monotonic() + ready_s
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        if _answers(f"{base_url}/models"):
            return
        time.sleep(0.1)
    tail = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"the llama.cpp server did not start:\n{tail}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own http address
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
