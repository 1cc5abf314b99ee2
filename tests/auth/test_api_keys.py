"""Who a request speaks for, and that no secret shows anywhere."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.auth.api_keys import ApiKey, Authenticator, KeysInvalid, hashed, parse_keys
from llmrouter.errors import Forbidden, Unauthorized

RING = Authenticator(parse_keys("alice:sk-alice:pro, bob:sk-bob"), "sk-admin")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer sk-alice"},
        {"Authorization": "bearer   sk-alice "},
        {"x-api-key": "sk-alice"},
        {"Authorization": "Basic Zm9v", "x-api-key": "sk-alice"},
    ],
)
def test_a_key_is_found_in_either_header(headers: dict[str, str]) -> None:
    """OpenAI's clients and Anthropic's send it differently; proxies add a Basic of their own."""
    caller = RING.caller(headers)
    assert (caller.name, caller.tier, caller.admin) == ("alice", "pro", False)


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, 'Bearer realm="llmrouter"'),
        ({"Authorization": "Bearer"}, 'Bearer realm="llmrouter"'),
        ({"Authorization": "Bearer sk-eve"}, 'Bearer realm="llmrouter", error="invalid_token"'),
        ({"x-api-key": "sk-alic\udcff"}, 'Bearer realm="llmrouter", error="invalid_token"'),
    ],
)
def test_no_key_and_a_wrong_key_are_challenged(headers: dict[str, str], challenge: str) -> None:
    """401 says how to come back, and never what was sent."""
    with pytest.raises(Unauthorized) as caught:
        RING.caller(headers)
    assert caught.value.headers["WWW-Authenticate"] == challenge
    assert "sk-" not in caught.value.message


def test_an_open_service_knows_everyone() -> None:
    """OpenAI's clients always send some key; without configured keys it means nothing."""
    ring = Authenticator()
    assert ring.caller({"Authorization": "Bearer whatever"}).name == "anonymous"
    assert ring.caller({}).name == "anonymous"
    ring.may_administer(ring.caller({}))


def test_only_the_admin_key_edits() -> None:
    """A user's key is not enough, and neither is no key at all once there is an admin key."""
    RING.may_administer(RING.caller({"x-api-key": "sk-admin"}))
    with pytest.raises(Forbidden):
        RING.may_administer(RING.caller({"x-api-key": "sk-bob"}))
    open_with_admin = Authenticator((), "sk-admin")
    with pytest.raises(Unauthorized):
        open_with_admin.may_administer(open_with_admin.caller({}))
    without_admin = Authenticator(parse_keys("bob:sk-bob"))
    with pytest.raises(Forbidden):
        without_admin.may_administer(without_admin.caller({"x-api-key": "sk-bob"}))


def test_tenants_are_apart_only_when_asked() -> None:
    """Isolation costs cache hits, so it is a choice."""
    keys = parse_keys("alice:a,bob:b")
    assert Authenticator(keys).caller({"x-api-key": "a"}).tenant == ""
    assert Authenticator(keys, isolate=True).caller({"x-api-key": "a"}).tenant == "alice"


@pytest.mark.parametrize("sign", ["=", "$"])
def test_a_key_may_be_configured_as_its_digest(sign: str) -> None:
    """The environment then holds no secret either, and what it holds is no key."""
    digest = sha256(b"sk-secret").hexdigest()
    ring = Authenticator(parse_keys(f"carol:sha256{sign}{digest}:free"))
    assert ring.caller({"x-api-key": "sk-secret"}).name == "carol"
    with pytest.raises(Unauthorized):
        ring.caller({"x-api-key": f"sha256{sign}{digest}"})


def test_nothing_prints_a_secret() -> None:
    """Not the ring, not a key, not even its digest."""
    key = ApiKey("alice", hashed("sk-alice"))
    shown = f"{RING!r} {key!r} {vars(RING)!r}"
    assert "sk-" not in shown
    assert hashed("sk-alice").hex() not in repr(key)


@pytest.mark.parametrize(
    "text",
    ["alice", "alice:", ":key", "a:b:c:d", "a b:key", "alice:sk-1,bob:sk-1", "alice:sk-1:"],
)
def test_keys_that_cannot_be_read_are_refused_without_showing_them(text: str) -> None:
    """The message counts entries instead of quoting them."""
    with pytest.raises(KeysInvalid) as caught:
        parse_keys(text)
    assert "sk-" not in str(caught.value)
    assert "API key" in str(caught.value)


def test_two_keys_may_share_a_name_so_that_one_can_be_replaced() -> None:
    """Rotation without a gap."""
    ring = Authenticator(parse_keys("alice:old,alice:new,,"))
    assert ring.caller({"x-api-key": "old"}).name == ring.caller({"x-api-key": "new"}).name


@given(st.text(max_size=40))
def test_no_header_value_breaks_the_lookup(value: str) -> None:
    """Whatever is sent is either alice's key or refused."""
    for headers in ({"Authorization": value}, {"x-api-key": value}):
        try:
            assert RING.caller(headers).name in {"alice", "bob", "admin"}
        except Unauthorized:
            continue
