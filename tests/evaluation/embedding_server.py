"""An `/v1/embeddings` server on a socket, in a thread, for commands that run no event loop."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Embeddings(BaseHTTPRequestHandler):
    """Answers /v1/embeddings: eight numbers that say whether the text is about cats."""

    def do_POST(self) -> None:
        """One vector a text, in reverse order, as servers may."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        data = [
            {"object": "embedding", "index": n, "embedding": _vector(text)}
            for n, text in enumerate(asked["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        body = {"object": "list", "model": asked["model"], "data": data[::-1], "usage": usage}
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Quiet."""


def _vector(text: str) -> list[float]:
    noise = hashlib.sha256(text.encode()).digest()
    return [3.0 if "cat" in text else -3.0, *(byte / 255 for byte in noise[:7])]


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """A running embeddings server's base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Embeddings)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
