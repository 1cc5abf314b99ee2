"""Tests of the names of requests: what shares one, and what never does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.domain.chat import ANONYMOUS, Caller, ChatRequest, Message, RouterOptions
from llmrouter.features.extractor import Extractor
from llmrouter.features.fingerprint import Fingerprinter, Prints, Subject, canonical
from llmrouter.features.normalization import normalise
from tests.samples import examples

KEY = b"a key of sixteen"
NAMES = Fingerprinter(KEY)
EXTRACTOR = Extractor(NAMES)


def parsed(*turns: dict[str, Any], **fields: Any) -> ChatRequest:
    """A request as it arrives over HTTP."""
    return parse(orjson.dumps({"messages": list(turns), **fields}), Endpoint.ROUTE)


def user(text: Any) -> dict[str, Any]:
    """A user turn."""
    return {"role": "user", "content": text}


def prints_of(request: ChatRequest, caller: Caller = ANONYMOUS) -> Prints:
    """Both names of a request."""
    features = EXTRACTOR.features(request, caller)
    return Prints(features.fingerprint, features.conversation)


def fingerprint(request: ChatRequest, caller: Caller = ANONYMOUS) -> str:
    """The name of a request."""
    return prints_of(request, caller).fingerprint


IDS = st.lists(st.sampled_from(["a", "b", "ab", "a,b", "c"]), min_size=1, max_size=3)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "tier": st.sampled_from(["free", "pro"]),
        "latency_budget_ms": st.sampled_from([1.0, 1500.0, 15.0]),
        "max_cost_usd": st.sampled_from([0.0, 0.5, 1.0]),
        "quality": st.sampled_from([0.0, 0.5, 1.0]),
        "allow": IDS.map(tuple),
        "deny": IDS.map(tuple),
        "task": st.sampled_from(["code", "math"]),
        "strategy": st.sampled_from(["auto", "llm", "learned"]),
    },
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.sampled_from([1, 10, 100]),
        "reasoning_effort": st.sampled_from(["low", "high"]),
        "logprobs": st.just(True),
        "tools": st.sampled_from([[{"name": "a"}], [{"name": "b"}], [{"name": "a"}] * 2]),
        "response_format": st.sampled_from([{"type": "json_schema"}, {"type": "json_object"}]),
    },
)
TEXTS = st.sampled_from(["7*8", "7*9", "Hello  world", "hello world", "1:a", "", "user1:a|"])
TURNS = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXTS), max_size=4)
CALLERS = st.sampled_from([ANONYMOUS, Caller(tenant="t"), Caller(tenant="u", tier="pro")])
CASES = st.tuples(TURNS, OPTIONS, FIELDS, CALLERS)


def meaning(case: Any) -> object:
    """What must be equal for two requests to share a name, computed without the encoding."""
    turns, options, fields, caller = case
    return (
        tuple((role, normalise(text)) for role, text in turns),
        caller.tenant,
        caller.tier or options.get("tier"),
        {
            name: frozenset(value) if name in ("allow", "deny") else value
            for name, value in options.items()
            if (name, value) != ("strategy", "auto") and name != "tier"
        },
        fields,
    )


def requested(case: Any) -> str:
    """The fingerprint of a generated case."""
    turns, options, fields, caller = case
    messages = tuple(Message(role, text) for role, text in [*turns, ("user", "end")])
    request = ChatRequest(b"", {"messages": [], **fields}, messages, RouterOptions(**options))
    return fingerprint(request, caller)


@settings(max_examples=examples(600))
@given(CASES, CASES)
def test_requests_share_a_name_exactly_when_they_mean_the_same(one: Any, other: Any) -> None:
    """Different constraints, turns, tenants or fields never meet; equal ones always do."""
    assert (requested(one) == requested(other)) == (meaning(one) == meaning(other))


@given(CASES)
def test_the_order_of_allowed_targets_does_not_count(case: Any) -> None:
    """`allow` and `deny` are sets."""
    turns, options, fields, caller = case
    turned = {
        name: tuple(reversed(value)) if name in ("allow", "deny") else value
        for name, value in options.items()
    }
    assert requested(case) == requested((turns, turned, fields, caller))


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("tier", "free", "pro"),
        ("latency_budget_ms", 100.0, 200.0),
        ("max_cost_usd", 0.1, 0.2),
        ("quality", 0.1, 0.2),
        ("allow", ("a",), ("a", "b")),
        ("deny", ("a",), ("b",)),
        ("task", "code", "math"),
        ("strategy", "llm", "learned"),
    ],
)
def test_each_constraint_counts_alone(name: str, value: Any, other: Any) -> None:
    """One constraint changed or set is another name."""
    plain = parsed(user("hi"))
    names = {
        fingerprint(replace(plain, options=RouterOptions(**given)))
        for given in ({}, {name: value}, {name: other})
    }
    assert len(names) == 3


def test_options_that_decide_nothing_do_not_count() -> None:
    """A session's name, the cache mode and sampling settings leave the name as it is."""
    plain = fingerprint(parsed(user("hi")))
    assert plain == fingerprint(
        parsed(user("hi"), temperature=1, router={"session": "s", "cache": "refresh"}, stream=True)
    )


def test_images_and_tool_calls_count_by_content() -> None:
    """Two images are two requests; ids of tool calls are not."""

    def shown(url: str) -> ChatRequest:
        image = {"type": "image_url", "image_url": {"url": url}}
        return parsed(user([{"type": "text", "text": "what is it?"}, image]))

    def called(id_: str, name: str) -> ChatRequest:
        call = {"id": id_, "type": "function", "function": {"name": name, "arguments": "{}"}}
        turn = {"role": "assistant", "content": None, "tool_calls": [call]}
        return parsed(user("go"), turn, {"role": "tool", "content": "1", "tool_call_id": id_})

    assert fingerprint(shown("https://a/1.png")) != fingerprint(shown("https://a/2.png"))
    assert fingerprint(called("c1", "f")) == fingerprint(called("c2", "f"))
    assert fingerprint(called("c1", "f")) != fingerprint(called("c1", "g"))


def test_key_order_in_tools_does_not_count() -> None:
    """Clients that write the same schema in another order share a decision."""
    one, other = [{"name": "f", "strict": True}], [{"strict": True, "name": "f"}]
    assert fingerprint(parsed(user("x"), tools=one)) == fingerprint(parsed(user("x"), tools=other))


def test_the_conversation_is_named_by_its_beginning() -> None:
    """Later turns keep the conversation's name; another tenant or system prompt changes it."""
    system = {"role": "system", "content": "Be brief."}
    first = prints_of(parsed(system, user("hi")))
    later = prints_of(
        parsed(system, user("hi"), {"role": "assistant", "content": "yes"}, user("more"))
    )
    assert first.conversation == later.conversation
    assert first.fingerprint != later.fingerprint
    assert prints_of(parsed(user("hi"))).conversation != first.conversation
    other = prints_of(parsed(system, user("hi")), Caller(tenant="t"))
    assert other.conversation != first.conversation


def test_without_the_key_names_cannot_be_computed() -> None:
    """Another key gives other names for everything."""
    subject = Subject(parsed(user("hi")), ANONYMOUS, 1)
    other = Fingerprinter(b"another")
    assert NAMES.prints(subject) != other.prints(subject)
    assert NAMES.cache_key("f", "r", ("a",)) != other.cache_key("f", "r", ("a",))


@pytest.mark.parametrize("key", [b"", b"x" * 65])
def test_a_key_of_impossible_length_is_refused(key: bytes) -> None:
    """A missing key is an error at start, never an unkeyed hash."""
    with pytest.raises(ValueError, match="1 to 64 bytes"):
        Fingerprinter(key)


NAME_PARTS = st.tuples(
    st.text(alphabet="ab0:", max_size=4),
    st.text(alphabet="ab0:.", max_size=4),
    st.lists(st.text(alphabet="ab0:,", max_size=3), max_size=3).map(tuple),
)


@settings(max_examples=examples(400))
@given(NAME_PARTS, NAME_PARTS)
def test_cache_keys_are_shared_only_by_equal_parts(one: Any, other: Any) -> None:
    """Fingerprint, revision and eligible targets cannot lend characters to each other."""
    assert (NAMES.cache_key(*one) == NAMES.cache_key(*other)) == (one == other)


def test_what_is_not_json_still_has_a_canonical_form() -> None:
    """A lone surrogate in a document names it instead of failing the request."""
    assert canonical({"a": "\ud800"}) != canonical({"a": "\ud801"})


def test_a_very_long_turn_is_compared_as_it_stands() -> None:
    """Beyond the limit it is not normalised, and still counts to its last character."""
    text = "A b " * 30_000
    assert fingerprint(parsed(user(text))) == fingerprint(parsed(user(text)))
    assert fingerprint(parsed(user(text))) != fingerprint(parsed(user(text + "c")))


def test_turns_that_would_take_long_to_fold_are_compared_as_they_stand() -> None:
    """One that grows eighteenfold, and everything behind the first few hundred thousand."""

    def alike(*before: str, text: str = "") -> bool:
        names = {fingerprint(parsed(*map(user, before), user(text + end))) for end in "Aa"}
        return len(names) == 1

    assert alike(text="é " * 1000)
    assert not alike(text="\ufdfa" * 9000)
    assert alike(*["é " * 45_000] * 4)
    assert not alike(*["é " * 45_000] * 5)
