"""A llama.cpp server with a tiny model of random weights, for tests.

The point is a server that comes from elsewhere: llama.cpp's own, prebuilt in `xllamacpp`. It
answers from a model that knows nothing. What such a model says is noise, so whatever comes out
right is the grammar's and ours to validate.

The model is built here (a few hundred kilobytes, fixed seed), never downloaded.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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


_SERVER = """
import sys, xllamacpp
path, name, embedding = sys.argv[1:4]
params = xllamacpp.CommonParams()
params.model.path = path
params.model_alias = {name}
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_ctx = params.n_batch = params.n_ubatch = 4096
params.n_parallel = 2
params.kv_unified = True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
if embedding:
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
params.verbosity = 0
server = xllamacpp.Server(params)
print(server.listening_address + "/v1", flush=True)
sys.stdin.buffer.read()
"""


def available() -> bool:
    """Whether the server can be started here. Where CI is set, a missing one is an error."""
    found = all(importlib.util.find_spec(name) for name in ("xllamacpp", "gguf"))
    if not found and os.environ.get("CI"):
        raise RuntimeError("xllamacpp and gguf must be installed in CI")
    return found


@contextlib.contextmanager
def llama_server(*, embedding: bool = False) -> Iterator[str]:
    """The base URL of a running server, on one thread: more would only wait for each other.

    With `embedding` it gives a text's vector, the mean of its tokens'.
    """
    command = [sys.executable, "-c", _SERVER, str(tiny_model()), MODEL_NAME, "1" * embedding]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline().decode().strip()
            assert line.startswith("http"), line
            yield line
        finally:
            process.kill()


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
