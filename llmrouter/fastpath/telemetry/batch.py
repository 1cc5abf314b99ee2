"""Finished spans on their way out: a bounded queue, and the thread that empties it.

The SDK's batch processor does this behind four calls and a system call a span. Here a span that
ends is one append; a thread looks every tenth of a second whether a batch is full or has waited
long enough. `OTEL_BSP_*` mean what the SDK says. A full queue loses its oldest spans, which is
logged; an export that fails loses its batch, never a request.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

log = logging.getLogger(__name__)

LOOK_S: Final = 0.1


class Exporter(Protocol):
    """Where batches go (`export.SpanExporter`)."""

    def export(self, spans: Sequence[Any]) -> object:
        """Send one batch; may take its time."""
        ...

    def shutdown(self) -> None:
        """Let go of what is held."""
        ...


@dataclass(frozen=True, slots=True)
class Sizes:
    """Spans that wait at most, spans in a batch, seconds that a span waits for its batch.

    The defaults are larger than the SDK's: a busy router makes thousands of spans a second, and
    what a batch costs is mostly its HTTP request.
    """

    queue: int = 16_384
    batch: int = 2_048
    delay_s: float = 5.0

    @classmethod
    def from_environment(cls) -> Sizes:
        """As `OTEL_BSP_*` say; with a queue of another size a batch is the SDK's 512."""
        queue = _number("OTEL_BSP_MAX_QUEUE_SIZE")
        batch = _number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")
        delay_ms = _number("OTEL_BSP_SCHEDULE_DELAY")
        usual = Sizes()
        held = queue or usual.queue
        return cls(
            queue=held,
            batch=min(batch or (usual.batch if queue is None else 512), held),
            delay_s=usual.delay_s if delay_ms is None else delay_ms / 1000.0,
        )


class Batches:
    """`add` is safe from every thread and never waits. Ends with `shutdown`."""

    def __init__(self, exporter: Exporter, sizes: Sizes | None = None) -> None:
        self.sizes = sizes or Sizes()
        self._exporter = exporter
        self._waiting: deque[Any] = deque(maxlen=self.sizes.queue)
        self.add: Callable[[Any], None] = self._waiting.append
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp-spans", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        sent_at = time.monotonic()
        while not self._over.wait(min(LOOK_S, self.sizes.delay_s)):
            late = time.monotonic() - sent_at >= self.sizes.delay_s
            if late or len(self._waiting) >= self.sizes.batch:
                self._send(every=late)
                sent_at = time.monotonic()
        self._send(every=True)

    def _send(self, *, every: bool) -> None:
        waiting, size, full = self._waiting, self.sizes.batch, False
        while len(waiting) >= size or (every and waiting):
            before, full = full, len(waiting) == self.sizes.queue
            if full and not before:
                log.warning("%d spans wait, the limit: the oldest are lost", self.sizes.queue)
            batch = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            try:
                self._exporter.export(batch)
            except Exception:
                log.exception("%d spans could not be exported", len(batch))

    def shutdown(self) -> None:
        """Send what waits, and end. Takes as long as the exporter does."""
        self._over.set()
        self._thread.join()
        self._exporter.shutdown()


def _number(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        log.warning("%s=%s is no positive whole number, the default it is", name, text)
        return None
    return int(text)
