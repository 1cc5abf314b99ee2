"""Recorded requests come back as they were asked, with their words or without them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.domain.chat import Caller, ChatRequest, RouterOptions
from llmrouter.evaluation import recorded
from llmrouter.evaluation.recorded import RecordedRequest, newest, pasts
from llmrouter.journal.journal import LOG_NAME
from llmrouter.store.memory import MemoryStore
from tests.evaluation.journaled import journaled


def read(body: bytes) -> ChatRequest:
    """As the service reads a body."""
    return parse(body, Endpoint.COMPLETE)


async def past(record: bool, caller: Caller | None = None, **asked: Any) -> RecordedRequest:
    """One request, recorded and read back."""
    store = await journaled([asked], record=record, caller=caller or Caller("app"))
    (found,) = pasts(await newest(store, 10), 10, read)
    return found


async def test_a_request_with_its_text_is_read_as_the_service_read_it() -> None:
    """The body is parsed and measured again; the decision's id is what names it."""
    found = await past(True, prompt="What is 12 * 13?", router={"deny": ["large"], "quality": 1})
    assert found.name == "d-0"
    assert found.text == found.features.text == "What is 12 * 13?"
    assert found.features.traits.task == "math"
    assert found.request.options.deny == ("large",)
    assert found.request.options.quality == 1.0


async def test_a_request_without_its_text_keeps_its_measures_and_limits() -> None:
    """Everything but words: so it can be screened, and rules that need no words can be tried."""
    asked = {
        "prompt": "What is 12 * 13?",
        "tools": [{"type": "function"}],
        "max_tokens": 70,
        "router": {"deny": ["large"], "max_cost_usd": 0.5, "quality": 1, "strategy": "rules"},
    }
    with_text, found = await past(True, **asked), await past(False, **asked)
    assert (found.text, found.features.text, found.request.messages) == (None, "", ())
    for name in ("input_tokens", "output_tokens", "asked_output", "needs", "turns", "tools"):
        assert getattr(found.features, name) == getattr(with_text.features, name), name
    assert found.features.traits.task == "math"
    assert found.request.options == RouterOptions(
        deny=("large",), max_cost_usd=0.5, quality=1.0, strategy="rules", decision_id="d-0"
    )


@pytest.mark.parametrize("record", [True, False])
async def test_the_caller_is_as_it_was(record: bool) -> None:
    """Tier and allow-list of the key decide who is eligible."""
    caller = Caller("app", "pro", "acme", frozenset({"small"}))
    assert (await past(record, caller, prompt="hi")).caller == caller


async def test_a_pinned_request_stays_pinned() -> None:
    """Without its text, too."""
    found = await past(False, model="large", messages=[{"role": "user", "content": "hi"}])
    assert found.request.model == "large"


async def test_a_recorded_body_that_is_none_any_more_is_decided_by_its_measures() -> None:
    """A build that is stricter than the one before it loses nothing."""
    store = await journaled([{"prompt": "hi"}], record=True)
    (batch,) = await newest(store, 1)
    entry = orjson.loads(batch)
    entry["request"] = '{"messages": 7}'
    (found,) = pasts([orjson.dumps(entry)], 1, read)
    assert found.text is None
    assert found.features.input_tokens == entry["features"]["input_tokens"]


async def test_damaged_and_foreign_lines_are_passed_over() -> None:
    """What cannot be read is not guessed."""
    store = await journaled([{"prompt": "hi"}], record=False)
    (batch,) = await newest(store, 1)
    damaged = [b'{"kind":"decision"', b'{"kind":"decision"}', b'{"kind":"outcome"}', b"", b"[1]"]
    assert [one.name for one in pasts([b"\n".join([*damaged, batch])], 10, read)] == ["d-0"]


async def test_the_newest_come_oldest_first() -> None:
    """However they were batched, and no more of them than asked for."""
    store = await journaled([{"prompt": str(n)} for n in range(30)], record=True, flush_each=True)
    found = pasts(await newest(store, 20), 20, read)
    assert [one.text for one in found] == [str(n) for n in range(10, 30)]


async def test_no_more_batches_are_kept_than_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy journal is gigabytes: both the count and the bytes bound what is held."""
    store = MemoryStore()
    line = b'{"kind":"decision","n":%d}'
    await store.append(LOG_NAME, [line % n for n in range(40)], 100)
    assert await newest(store, 3) == [line % n for n in (37, 38, 39)]
    assert len(await newest(store, 100)) == 40
    monkeypatch.setattr(recorded, "MOST_BYTES", 2 * len(line % 10))
    assert await newest(store, 100) == [line % 38, line % 39]
