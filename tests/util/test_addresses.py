"""Tests of which addresses a model may be reached at."""

from __future__ import annotations

import pytest

from llmrouter.util.addresses import (
    NO_METADATA,
    address_of,
    address_policy,
    looked_up,
    on_loopback,
)

REFUSED = [
    *(
        "169.254.169.254",
        "169.254.170.2",
        "169.254.0.1",
        "2852039166",
        "0xA9FEA9FE",
        "025177524776",
    ),
    *(
        "0251.0376.0251.0376",
        "169.254.43518",
        "0xa9.0xfe.43518",
        "169.16689662",
        "169.254.169.254.",
    ),
    *("[::ffff:169.254.169.254]", "::ffff:a9fe:a9fe", "::a9fe:a9fe", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::", "2001:0:a9fe:a9fe::1", "fe80::5efe:169.254.1.1"),
    *("fe80::1", "[fe80::1%25eth0]", "febf::1", "fd00:ec2::254", "fd00:0ec2:0::23", "fd20:ce::254"),
    *("100.100.100.200", "192.0.0.192", "168.63.129.16", "①⑥⑨.254.169.254", "169。254。169。254"),
    *("metadata.google.internal", "METADATA.google.internal.", "metadata", "instance-data"),
    "ⓜⓔⓣⓐⓓⓐⓣⓐ.google.internal",
]
REACHED = [
    *("127.0.0.1", "localhost", "::1", "10.0.0.1", "192.168.1.5", "2130706433", "169.253.1.1", "0"),
    *("170.254.169.254", "fec0::1", "fd00:ec3::1", "100.100.100.201", "8.8.8.8", "2001:4860::8888"),
    *("api.openai.com", "169.254.169.254.example", "my-metadata", "3com.example", "box.local"),
]


@pytest.mark.parametrize("host", REFUSED)
def test_link_local_and_metadata_addresses_are_refused_in_any_spelling(host: str) -> None:
    """Numbers in every base, IPv4 inside IPv6, full-width digits and dots, names, last dots."""
    assert NO_METADATA.problem(host, lookup_s=0.0) is not None


@pytest.mark.parametrize("host", REACHED)
def test_every_other_host_may_be_reached(host: str) -> None:
    """The loopback and private networks are where local models are."""
    assert NO_METADATA.problem(host, lookup_s=0.0) is None


def test_a_name_that_resolves_to_a_refused_address_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One such address is enough; a name that cannot be looked up is left to the connection."""

    def found(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if name == "unknown.example":
            raise OSError("no such name")
        return [(0, 0, 0, "", (one, 0)) for one in ("93.184.216.34", "169.254.169.254")]

    monkeypatch.setattr("socket.getaddrinfo", found)
    assert NO_METADATA.problem("rebound.example") == "resolves to a link-local or metadata address"
    assert NO_METADATA.problem("unknown.example") is None
    assert address_policy(["*.example"]).problem("rebound.example") is None


def test_what_a_setting_allows_is_reached() -> None:
    """Names, domains, addresses and networks; nothing beside them."""
    policy = address_policy(
        ["169.254.7.0/24", "[fd00:ec2::254]", "Metadata.Google.Internal", "*.x"]
    )
    allowed = (
        "169.254.7.9",
        "fd00:ec2::254",
        "::ffff:169.254.7.9",
        "metadata.google.internal",
        "a.x",
    )
    assert [policy.problem(host, lookup_s=0.0) for host in allowed] == [None] * 5
    for host in ("169.254.8.9", "fd00:ec2::23", "metadata", "169.254.169.254"):
        assert policy.problem(host, lookup_s=0.0) is not None


def test_names_are_no_addresses_and_look_ups_end() -> None:
    """What is looked up for no time has no addresses."""
    assert address_of("api.openai.com") is None
    assert address_of("1.2.3.4 x") is None
    assert address_of("") is None
    assert looked_up("localhost", 5.0)


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:11434/v1", True),
        ("http://127.8.0.1/v1", True),
        ("http://[::1]:8080", True),
        ("http://localhost.example/v1", False),
        ("http://10.0.0.1/v1", False),
        ("nonsense", False),
    ],
)
def test_an_address_on_the_loopback_is_known(url: str, here: bool) -> None:
    """By name or by number; a name that only begins alike is another machine's."""
    assert on_loopback(url) is here
