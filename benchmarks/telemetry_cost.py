"""CPU that tracing adds to a request of two spans (SERVER and `route`), exporter attached.

`in the loop` is what the request itself pays, `whole process` counts the export thread too: its
encoding, and its HTTP requests to a collector in another process. Run it with
`python -m benchmarks.telemetry_cost`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.queues import Queue

from llmrouter.domain import semconv
from llmrouter.telemetry.telemetry import Telemetry

ROUNDS, BURSTS, BURST = 5, 20, 400
CALLER = {"traceparent": f"00-{'a1' * 16}-{'b2' * 8}-01"}


class Sink(BaseHTTPRequestHandler):
    """A collector that forgets."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take a batch."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def sink(ports: Queue[int]) -> None:
    """Serve until terminated; the port goes into `ports`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    ports.put(server.server_port)
    server.serve_forever()


def one(telemetry: Telemetry, headers: dict[str, str]) -> None:
    """A cached decision's spans."""
    with telemetry.request("POST", "/route", headers) as span:
        with telemetry.route() as route:
            route.set(semconv.SOURCE, "cache")
            route.set(semconv.TARGET, "gpt-5")
            route.set(semconv.CONFIDENCE, 0.9)
            route.set(semconv.CACHE_HIT, True)
        span.set(semconv.HTTP_STATUS_CODE, 200)


async def measure(headers: dict[str, str]) -> tuple[float, float]:
    """Microseconds a request in the loop's thread, and in the whole process; the best round."""
    telemetry = Telemetry()
    telemetry.start()
    rounds = []
    for _ in range(ROUNDS):
        loop_s, process_s = time.thread_time(), time.process_time()
        for _ in range(BURSTS):
            for _ in range(BURST):
                one(telemetry, headers)
            await asyncio.sleep(0.03)
        await asyncio.sleep(0.3)
        count = BURSTS * BURST / 1e6
        rounds.append(
            ((time.thread_time() - loop_s) / count, (time.process_time() - process_s) / count)
        )
    await telemetry.close()
    return min(rounds, key=lambda found: found[1])


def main() -> None:
    """Print the three cases."""
    ports: Queue[int] = multiprocessing.Queue()
    collector = multiprocessing.Process(target=sink, args=(ports,), daemon=True)
    collector.start()
    address = f"http://127.0.0.1:{ports.get()}"
    print("µs a request, two spans        in the loop   whole process")
    for name, endpoint, headers in (
        ("export off", "", {}),
        ("export on", address, {}),
        ("export on, below a caller", address, CALLER),
    ):
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "200"
        in_loop, whole = asyncio.run(measure(headers))
        print(f"{name:30} {in_loop:11.1f} {whole:15.1f}")
    collector.terminate()


if __name__ == "__main__":
    main()
