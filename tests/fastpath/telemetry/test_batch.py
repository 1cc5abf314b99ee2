"""The queue of finished spans and the thread that empties it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest

from llmrouter.fastpath.telemetry.batch import Batches, Sizes


class Collector:
    """An exporter that keeps its batches; `gate` holds it up, `broken` makes it fail."""

    def __init__(self, *, broken: bool = False) -> None:
        self.batches: list[list[Any]] = []
        self.came = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.broken = broken
        self.over = False

    def export(self, spans: Sequence[Any]) -> None:
        """Keep one batch."""
        self.batches.append(list(spans))
        self.came.set()
        self.gate.wait(10)
        if self.broken:
            raise RuntimeError("no collector")

    def shutdown(self) -> None:
        """Remember the end."""
        self.over = True


def test_a_full_batch_leaves_before_its_time() -> None:
    """Whoever has a batch together does not wait for the delay."""
    collector = Collector()
    batches = Batches(collector, Sizes(queue=100, batch=10, delay_s=3600))
    for number in range(25):
        batches.add(number)
    assert collector.came.wait(10)
    batches.shutdown()
    assert [len(batch) for batch in collector.batches] == [10, 10, 5]
    assert list(chain(*collector.batches)) == list(range(25))
    assert collector.over


def test_a_lone_span_leaves_after_the_delay() -> None:
    """One span does not wait for company for ever."""
    collector = Collector()
    batches = Batches(collector, Sizes(queue=100, batch=10, delay_s=0.01))
    batches.add("alone")
    assert collector.came.wait(10)
    batches.shutdown()
    assert collector.batches == [["alone"]]


def test_what_does_not_fit_costs_the_oldest(caplog: pytest.LogCaptureFixture) -> None:
    """A collector that hangs holds nobody up: the queue stays bounded and the loss is logged."""
    collector = Collector()
    collector.gate.clear()
    batches = Batches(collector, Sizes(queue=20, batch=10, delay_s=3600))
    for number in range(10):
        batches.add(number)
    assert collector.came.wait(10)
    for number in range(100, 150):
        batches.add(number)
    with caplog.at_level(logging.WARNING, "llmrouter.fastpath.telemetry.batch"):
        collector.gate.set()
        batches.shutdown()
    assert list(chain(*collector.batches)) == [*range(10), *range(130, 150)]
    assert "oldest are lost" in caplog.text


def test_a_failed_export_loses_its_batch_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The thread outlives an exporter's exception, and says what was lost."""
    collector = Collector(broken=True)
    batches = Batches(collector, Sizes(queue=100, batch=2, delay_s=3600))
    for number in range(5):
        batches.add(number)
    batches.shutdown()
    assert [len(batch) for batch in collector.batches] == [2, 2, 1]
    assert caplog.text.count("could not be exported") == 3


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Sizes(16_384, 2_048, 5.0)),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "600"}, Sizes(600, 512, 5.0)),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "100"}, Sizes(100, 100, 5.0)),
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64"}, Sizes(16_384, 64, 5.0)),
        ({"OTEL_BSP_SCHEDULE_DELAY": "250"}, Sizes(16_384, 2_048, 0.25)),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "many", "OTEL_BSP_SCHEDULE_DELAY": "0"}, Sizes()),
    ],
)
def test_the_variables_size_it(
    environ: dict[str, str], expected: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`OTEL_BSP_*` mean what the SDK says; what is no number is passed over."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert Sizes.from_environment() == expected
