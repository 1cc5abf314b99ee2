"""The body that goes upstream: the routed members change, nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.chat import ChatRequest, Message
from llmrouter.domain.target import Access
from llmrouter.execution import request_body
from llmrouter.execution.request_body import prepare, sample
from tests.fakes import a_request, a_target


def raw(body: bytes, **over: Any) -> ChatRequest:
    """A request as its bytes say."""
    document = json.loads(body)
    return ChatRequest(body, document, (), stream=bool(document.get("stream")), **over)


def test_only_the_model_changes() -> None:
    """Odd numbers, spacing and unknown members survive."""
    body = b'{ "model" : "auto","seed":12345678901234567890, "x":1.0, "messages": [ ] }'
    sent, added = prepare(raw(body), a_target())
    assert sent == body.replace(b'"auto"', b'"small-model"')
    assert not added


def test_the_router_object_never_leaves_the_service() -> None:
    """The routed options are ours."""
    sent, _ = prepare(raw(b'{"router":{"tier":"x"},"messages":[]}'), a_target())
    assert json.loads(sent) == {"messages": [], "model": "small-model"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"auto","stream":true}',
        b'{"stream":true,"\\u006dodel":"auto","x":{"model":"m"}}',
        b'{"stream":true,"stream_options":null}',
        b'{"stream":true,"stream_options":{"include_usage":false}}',
        b'{"stream":true,"model":7}',
    ],
)
def test_a_stream_asks_for_its_usage(body: bytes) -> None:
    """However the body is spelled, usage is asked for and the caller's own wish is known."""
    sent, added = prepare(raw(body), a_target())
    document = json.loads(sent)
    assert added
    assert document["stream_options"] == {"include_usage": True}
    assert document["model"] == "small-model"


def test_usage_the_caller_wants_is_the_callers() -> None:
    """Nothing is added, so nothing is taken out of the answer."""
    body = b'{"model":"auto","stream":true,"stream_options":{"include_usage":true,"y":2}}'
    sent, added = prepare(raw(body), a_target())
    assert not added
    assert b'"stream_options":{"include_usage":true,"y":2}' in sent


def test_a_bare_prompt_becomes_messages() -> None:
    """`/complete` takes a prompt; upstreams do not."""
    body = b'{"prompt":"hi","temperature":0.1}'
    request = ChatRequest(body, json.loads(body), (Message("user", "hi"),), bare_prompt=True)
    sent, _ = prepare(request, a_target())
    assert json.loads(sent) == {
        "temperature": 0.1,
        "model": "small-model",
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_log_probabilities_are_asked_for_only_where_the_caller_is_silent() -> None:
    """A caller's own `logprobs: false` stands."""
    one, two = [json.loads(prepare(a_request(), a_target(), candidates=n)[0]) for n in (1, 2)]
    assert (one["logprobs"], one.get("top_logprobs")) == (True, None)
    assert (two["logprobs"], two["top_logprobs"]) == (True, 2)
    refused = json.loads(prepare(a_request(logprobs=False), a_target(), candidates=2)[0])
    assert (refused["logprobs"], refused.get("top_logprobs")) == (False, None)
    more = a_request(logprobs=True, top_logprobs=5)
    assert json.loads(prepare(more, a_target(), candidates=2)[0])["top_logprobs"] == 5


KEYS = st.sampled_from(["model", "x", "stream_options", "messages"])
TEXT = st.sampled_from(
    ["model", '"model"', '"model":"x"', '\\"model\\":"x"', "}", "m\u00f6del", "a"]
)


@given(st.dictionaries(KEYS, TEXT | st.dictionaries(KEYS, TEXT)), st.booleans(), st.booleans())
def test_the_quick_way_means_the_same(document: dict[str, Any], stream: bool, ascii_: bool) -> None:
    """Texts that look like members are left alone, whatever they hold."""
    body = json.dumps({**document, "stream": stream}, ensure_ascii=ascii_).encode()
    sent, added = prepare(raw(body), a_target())
    expected = {**document, "stream": stream, "model": "small-model"}
    if stream:
        given_options = document.get("stream_options")
        options = given_options if isinstance(given_options, dict) else {}
        expected["stream_options"] = {**options, "include_usage": True}
    assert json.loads(sent) == expected
    assert added is stream


def test_a_sample_is_whole_and_may_differ() -> None:
    """Not streamed, and not the same greedy answer again."""
    body = b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"temperature":0}'
    assert json.loads(sample(body)) == {"model": "m", "temperature": 0.7}


def test_a_targets_own_members_are_set_and_its_defaults_give_way() -> None:
    """`params` fill in what the caller left out, `overrides` hold in any case."""
    access = Access(params={"temperature": 0.2, "top_p": 0.9}, overrides={"seed": 7})
    body = b'{"model":"auto","temperature":1,"seed":1}'
    sent, _ = prepare(raw(body), a_target(access=access))
    assert json.loads(sent) == {
        "model": "small-model",
        "temperature": 1,
        "top_p": 0.9,
        "seed": 7,
    }


def test_a_target_that_sets_no_members_needs_no_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers or a proxy of its own change nothing in the body."""

    def walked(*_: Any) -> bytes:
        raise AssertionError("the body was walked")

    monkeypatch.setattr(request_body, "splice", walked)
    target = a_target(access=Access(headers={"x-team": "a"}, proxy="http://127.0.0.1:1"))
    assert prepare(raw(b'{"model":"auto"}'), target)[0] == b'{"model":"small-model"}'
