"""The account of an execution adds up."""

from __future__ import annotations

import pytest

from llmrouter.domain.catalog import Fallback
from llmrouter.execution.executor import Executor
from llmrouter.execution.plan import ExecutionRequest
from llmrouter.upstream.health import TargetHealth
from tests.execution.conftest import FORMS, Bench, collect
from tests.fakes import RecordingObserver, a_catalog, a_decision, a_request


@FORMS
async def test_costs_times_and_attempts_add_up(bench: Bench, stream: bool) -> None:
    """What failed, what answered and what was waited for are each there once."""
    bench.upstream.script["ok"] = ["s500", "ok"]
    execution = bench.run("ok", stream=stream, fallback=Fallback(retries=1))
    await collect(execution)
    completed = execution.completion
    assert completed is not None
    assert completed.cost_usd == sum(a.cost_usd for a in completed.attempts)
    assert completed.phases_ms is not None
    assert set(completed.phases_ms) == {"route", "attempts", "waits"}
    spent = sum(a.latency_ms for a in completed.attempts)
    assert completed.phases_ms["attempts"] >= spent
    whole = completed.phases_ms["attempts"] + completed.phases_ms["waits"]
    assert whole == pytest.approx(completed.latency_ms)
    assert [a.status for a in completed.attempts] == [500, None]
    assert bench.observer.attempts == list(completed.attempts)
    assert [one for one, _ in bench.observer.completions] == [completed]


async def test_attempts_are_numbered_in_their_spans(bench: Bench) -> None:
    """The first has no number, because most requests have one attempt."""
    await collect(bench.run("s500", "s503", "ok"))
    numbers = [span.attributes.get("llmrouter.attempt") for span in bench.observer.spans]
    assert numbers == [None, 1, 2]
    assert [span.error for span in bench.observer.spans] == ["500", "503", None]


@FORMS
@pytest.mark.parametrize("cascade", [False, True])
async def test_a_defect_is_raised_and_leaves_nothing_open(stream: bool, cascade: bool) -> None:
    """An exception nobody expected is no cancellation, and holds no slot or span."""

    class Broken:
        """An upstream with a defect."""

        def send(self, call: object) -> object:
            """Fails as no upstream may."""
            raise RuntimeError("a defect")

    observer = RecordingObserver()
    executor = Executor(Broken(), observer, TargetHealth())  # type: ignore[arg-type] # on purpose
    request = a_request(**({"stream": True} if stream else {}))
    execution = executor.run(ExecutionRequest(request, a_decision(cascade=cascade), a_catalog()))
    with pytest.raises(RuntimeError, match="a defect"):
        await execution.open()
    assert execution.completion is not None
    assert [a.reason for a in execution.completion.attempts] == ["defect: RuntimeError"]
    assert executor.options.limits.running("small") == 0
    assert all(span.ended for span in observer.spans)
