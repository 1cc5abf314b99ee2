"""Limits of keys as settings and admin calls spell them."""

from __future__ import annotations

import pytest

from llmrouter.auth.api_keys import ApiKey, Authenticator, hashed, parse_keys
from llmrouter.ratelimit.policies import (
    KeyPolicy,
    PoliciesInvalid,
    parse_policies,
    policies_of,
    policy_of,
    restricted,
)
from llmrouter.ratelimit.sliding_window import Quota


def test_policies_are_read() -> None:
    """One line configures all keys."""
    read = parse_policies("alice requests=60/m tokens=1000/10s allow=small|large; * spend_usd=5/d")
    assert read["alice"].requests == Quota(60, 60)
    assert read["alice"].tokens == Quota(1000, 10)
    assert read["alice"].allow == frozenset({"small", "large"})
    assert read["*"].spend_usd == Quota(5, 86400)
    assert parse_policies("") == {}


def test_a_policys_allow_list_reaches_its_keys() -> None:
    """Eligibility reads it from the caller."""
    policies = parse_policies("alice allow=small; * requests=1/s")
    keys = restricted(parse_keys("alice:a,bob:b"), policies)
    ring = Authenticator(keys)
    assert ring.caller({"x-api-key": "a"}).allow == frozenset({"small"})
    assert ring.caller({"x-api-key": "b"}).allow is None


@pytest.mark.parametrize(
    "text",
    ["alice", "alice rps=1/s", "alice requests=60", "a requests=0/m", "a allow=", "a x; a x"],
)
def test_policies_that_cannot_be_read_are_refused(text: str) -> None:
    """A limit that is silently ignored is a bill."""
    with pytest.raises(PoliciesInvalid):
        parse_policies(text)


def test_an_admins_limits_are_quotas_by_unit() -> None:
    """As in the settings, without a name and without targets."""
    assert policy_of({"requests": "30/10s", "spend_usd": "5/d"}) == KeyPolicy(
        requests=Quota(30, 10), spend_usd=Quota(5, 86400)
    )
    for wrong in ({"requests": "60"}, {"rps": "1/s"}, {"tokens": "0/m"}):
        with pytest.raises(PoliciesInvalid):
            policy_of(wrong)


def test_stored_limits_that_cannot_be_read_limit_no_other_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They are logged."""
    found = policies_of({"alice": {"requests": "1/s"}, "bob": {"rps": "1/s"}})
    assert found == {"alice": KeyPolicy(requests=Quota(1, 1))}
    assert "bob" in caplog.text


def test_a_keys_own_targets_and_its_policys_hold_together() -> None:
    """What one of them takes away the other does not give back."""
    key = ApiKey("alice", hashed("a"), allow=frozenset({"small", "large"}))
    (both,) = restricted((key,), parse_policies("* allow=large|huge"))
    assert both.allow == frozenset({"large"})
