"""The header that authenticates a call, by kind of authentication."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmrouter.domain.target import Access, Endpoint
from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.credentials import Credentials
from tests.fakes import a_target

PLACE = Endpoint("https://api.example.com/v1", "KEY")


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ("bearer", {"Authorization": "Bearer sk-1"}),
        ("x-api-key", {"x-api-key": "sk-1"}),
        ("azure", {"api-key": "sk-1"}),
        ("none", {}),
    ],
)
def test_each_kind_has_its_header(auth: str, expected: dict[str, str]) -> None:
    """The key is sent where the provider reads it."""
    credentials = Credentials({"KEY": "sk-1"}.get)
    assert credentials.headers(a_target(auth=auth), PLACE) == expected


def test_a_key_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """A rotated key is seen without a restart."""
    file = tmp_path / "key"
    file.write_text("sk-old\n")
    target = a_target(access=Access(api_key_file=str(file)))
    credentials = Credentials({}.get)
    place = Endpoint("https://api.example.com/v1")
    assert credentials.headers(target, place) == {"Authorization": "Bearer sk-old"}
    file.write_text("sk-new\n")
    os.utime(file, ns=(1, 1))
    assert credentials.headers(target, place) == {"Authorization": "Bearer sk-new"}


def test_a_key_file_that_is_gone_is_named_without_its_folder(tmp_path: Path) -> None:
    """The message reaches callers, so it tells no path."""
    target = a_target(access=Access(api_key_file=str(tmp_path / "absent")))
    with pytest.raises(UpstreamFailure) as caught:
        Credentials({}.get).headers(target, Endpoint("https://api.example.com/v1"))
    assert caught.value.kind == "misconfigured"
    assert "absent" in caught.value.detail
    assert str(tmp_path) not in caught.value.detail


@pytest.mark.parametrize("key", ["", "sk\n1", "schlüssel"])
def test_an_unusable_key_is_a_misconfiguration(key: str) -> None:
    """An empty or unprintable key is never sent."""
    with pytest.raises(UpstreamFailure, match="KEY"):
        Credentials({"KEY": key}.get).headers(a_target(), PLACE)
