"""A stream read beside its bytes: what commits it, what it tells, how it may end."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.completion import ResponseEvent, Usage
from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.stream_parser import Stream, whole
from tests.faulty import COUNTS, DONE, END, ERROR, ROLE, STREAM, WORDS, chunk, completion


def through(*pieces: bytes, detail: bool = False, strip_usage: bool = False) -> Stream:
    """A stream that was fed these and then ended."""
    stream = Stream(detail=detail, strip_usage=strip_usage)
    for piece in pieces:
        stream.feed(piece)
    stream.end()
    return stream


def kind(stream: Stream) -> str | None:
    """How a stream failed."""
    return None if stream.failure is None else stream.failure.kind


@given(st.lists(st.integers(0, 2000), max_size=30), st.booleans())
def test_any_chunking_relays_every_byte(cuts: list[int], detail: bool) -> None:
    """And finds the same facts."""
    data = b": hello\n\n" + b"".join(STREAM)
    places = sorted({cut % len(data) for cut in cuts} | {0, len(data)})
    pieces = [data[a:b] for a, b in pairwise(places)]
    stream = through(*pieces, detail=detail, strip_usage=True)
    events = list(stream.ready)
    assert b"".join(event.data for event in events) == data
    assert stream.failure is None
    assert events[-1].done
    assert [e.usage for e in events if e.usage_only] == [Usage(12, 5)]
    assert [e.finish_reason for e in events if e.finish_reason] == ["stop"]


@given(st.lists(st.binary(max_size=60) | st.sampled_from(STREAM), max_size=12))
def test_hostile_streams_never_crash_it(pieces: list[bytes]) -> None:
    """Any bytes end in events or in one failure of a known kind."""
    stream = through(*pieces)
    assert stream.ended
    assert kind(stream) in {None, "empty", "malformed", "interrupted", "error_body", "too_large"}


def test_nothing_is_handed_out_before_the_first_token() -> None:
    """Comments and the role wait for it, and then come first."""
    stream = Stream()
    for piece in (b": processing\n\n", ROLE):
        stream.feed(piece)
        assert not stream.ready
        assert not stream.committed
    stream.feed(WORDS[0])
    assert stream.committed
    assert [event.data for event in stream.ready] == [b": processing\n\n", ROLE, WORDS[0]]


@pytest.mark.parametrize(
    "delta",
    [{"content": "x"}, {"tool_calls": [{"index": 0}]}, {"refusal": "no"}, {"reasoning": "hm"}],
)
def test_any_substance_commits(delta: dict[str, object]) -> None:
    """Text, a tool call, a refusal, a provider's own field."""
    stream = Stream()
    stream.feed(chunk({"role": "assistant", **delta}))
    assert stream.committed


@pytest.mark.parametrize(
    ("pieces", "failed"),
    [
        ((), "empty"),
        ((DONE,), "empty"),
        ((ROLE, DONE), "empty"),
        ((ROLE, END, DONE), "empty"),
        ((b": ping\n\n",), "empty"),
        ((b"data:\n\n", b"data: \n\n"), "empty"),
        ((b"data:\n\n", ROLE, b"data: \n\n", WORDS[0], END, DONE), None),
        ((ROLE, WORDS[0]), "interrupted"),
        ((ROLE, WORDS[0], WORDS[1][:-3]), "interrupted"),
        ((b"data: what\n\n",), "malformed"),
        ((b"not a stream at all",), "malformed"),
        ((b"data: " + ERROR + b"\n\n",), "error_body"),
        ((ROLE, WORDS[0], b"data: " + ERROR + b"\n\n", END, DONE), "error_body"),
        ((ROLE, WORDS[0], END), None),
        ((ROLE, chunk({}, "length"), DONE), None),
        ((ROLE, WORDS[0], END, b"data: [DONE]"), None),
        ((ROLE, WORDS[0], DONE), None),
    ],
)
def test_how_a_stream_may_end(pieces: tuple[bytes, ...], failed: str | None) -> None:
    """Empty and cut streams are failures, not ends."""
    assert kind(through(*pieces)) == failed


def test_what_comes_after_done_is_not_relayed() -> None:
    """The end marker is the end."""
    stream = through(ROLE, WORDS[0], DONE, WORDS[1])
    assert [event.data for event in stream.ready] == [ROLE, WORDS[0], DONE]


def test_a_last_event_without_its_blank_line_is_completed() -> None:
    """A server that forgets the last line feeds is still understood by callers."""
    stream = through(ROLE, WORDS[0], END, b"data: [DONE]\n")
    assert stream.ready[-1].data == DONE


def test_detail_reads_text_and_log_probabilities() -> None:
    """Only where the call asks for it, because it costs a parse a chunk."""
    choice = {"delta": {"content": "x"}, "logprobs": {"content": [{"logprob": -0.5}]}}
    rich = b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
    events = list(through(WORDS[0], rich, END, detail=True).ready)
    assert "".join(event.text for event in events) == "Fox"
    assert events[1].logprobs == (-0.5,)
    assert list(through(WORDS[0], rich, END).ready)[1] == ResponseEvent(rich, "text/event-stream")


def test_usage_in_every_chunk_is_not_taken_for_the_usage_chunk() -> None:
    """Only the chunk without choices exists for the service's own sake."""
    both = chunk({"content": "x"}, usage={"prompt_tokens": 1, "completion_tokens": 1})
    events = list(through(both, END, COUNTS, DONE, strip_usage=True).ready)
    assert [event.usage_only for event in events] == [False, False, True, False]


def test_a_whole_body_tells_all_at_once() -> None:
    """One parse gives everything."""
    event = whole(completion("Hi"), "application/json")
    assert (event.text, event.finish_reason, event.model) == ("Hi", "stop", "m-1")
    assert (event.response_id, event.usage, event.done) == ("cmpl-1", Usage(12, 5), True)


@pytest.mark.parametrize(
    ("body", "failed"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"<html>", "malformed"),
        (b"[]", "malformed"),
        (b'{"choices": [{"message": {"content": "\xff"}}]}', "malformed"),
        (b"{}", "empty"),
        (completion(""), "empty"),
        (ERROR, "error_body"),
        (b'{"error": "plain words"}', "error_body"),
    ],
)
def test_a_200_that_is_no_answer_is_a_failure_of_its_own_kind(body: bytes, failed: str) -> None:
    """HTML, nothing, another shape, an error."""
    with pytest.raises(UpstreamFailure) as caught:
        whole(body, "text/html")
    assert caught.value.kind == failed


def test_an_error_of_null_is_no_error() -> None:
    """Some servers send `error: null` beside every answer."""
    assert whole(completion(error=None), "application/json").text == "Four."


def two(index: int, text: str = "", finish: str | None = None) -> bytes:
    """A chunk of one of two choices."""
    delta = {"content": text} if text else {}
    return chunk({}, choices=[{"index": index, "delta": delta, "finish_reason": finish}])


@pytest.mark.parametrize("detail", [False, True])
@pytest.mark.parametrize("done", [DONE, b""])
def test_a_choice_that_never_finishes_is_a_failure(detail: bool, done: bytes) -> None:
    """Of several, with the end marker and without; what came before is relayed."""
    stream = Stream(detail=detail, choices=2)
    stream.feed(two(0, "a") + two(1, "b") + two(0, finish="stop") + done)
    stream.end()
    assert stream.failure is not None
    assert (stream.failure.kind, stream.failure.detail) == (
        "interrupted",
        "choice 1 of the stream broke off",
    )
    assert [event.done for event in stream.ready] == [False] * 3


@pytest.mark.parametrize(
    "chunks",
    [
        (two(0, "a"), two(1, "b"), two(0, finish="stop"), two(1, finish="length")),
        (two(0, "a"), two(0, finish="stop")),
        (two(0, "a"), two(1, "b")),
    ],
    ids=["both finish", "the server gives one", "it names no reason at all"],
)
def test_choices_that_end_as_servers_end_them_are_whole(chunks: tuple[bytes, ...]) -> None:
    """Fewer choices than asked for are the server's right, and so is to give no reason."""
    stream = Stream(choices=2)
    stream.feed(b"".join(chunks) + DONE)
    assert stream.failure is None
    assert stream.ready[-1].done
