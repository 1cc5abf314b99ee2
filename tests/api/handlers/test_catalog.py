"""The catalog over HTTP: read, edited, undone; by whom, and of what they have read."""

from __future__ import annotations

from typing import Any

import pytest

from llmrouter.auth.api_keys import Authenticator, parse_keys
from llmrouter.catalog.editor import ANY, target_edit
from llmrouter.catalog.versions import Author, tag
from tests.api.fakes import FakeDesk, client_of, services

KEYS = Authenticator(parse_keys("alice:sk-alice"), "sk-admin")
TEXT = "---\nmodel: m-small\n---\n"


def bearer(key: str) -> dict[str, str]:
    """The header of a key."""
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("GET", "/catalog/small", {}),
        ("PUT", "/catalog/small", {"data": TEXT, "headers": {"Content-Type": "text/markdown"}}),
        ("DELETE", "/catalog/small", {}),
        ("GET", "/catalog/small/history", {}),
        ("POST", "/catalog/small/revert", {}),
    ],
)
async def test_files_are_for_the_admin_key_alone(
    method: str, path: str, more: dict[str, Any]
) -> None:
    """They hold addresses and names of secrets, and they decide where money goes."""
    desk = FakeDesk()
    more = {**more, "headers": more.get("headers", {})}
    async with client_of(services(catalog=desk, editor=desk, keyring=KEYS)) as client:
        for key, status in (("sk-alice", 403), ("sk-eve", 401)):
            headers = {**more["headers"], **bearer(key)}
            assert (
                await client.call(method, path, **{**more, "headers": headers})
            ).status == status
        assert (desk.written, desk.reverted) == ([], [])
        headers = {**more["headers"], **bearer("sk-admin")}
        assert (await client.call(method, path, **{**more, "headers": headers})).status == 200


async def test_a_file_is_read_with_its_tag() -> None:
    """As Markdown, byte for byte; an unknown target is a 404."""
    desk = FakeDesk()
    async with client_of(services(catalog=desk, editor=desk)) as client:
        answer = await client.get("/catalog/small")
        assert (answer.status, answer.body.decode()) == (200, TEXT)
        assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
        assert answer.headers["ETag"] == f'"{tag(TEXT)}"'
        assert (await client.get("/catalog/nobody")).error["code"] == "target_not_found"
        served = await client.get("/catalog")
        assert served.headers["ETag"] == f'"{served.json["version"]}"'


async def test_both_ways_of_sending_a_file_arrive_as_its_text() -> None:
    """And the answer is the catalog under the file's new tag."""
    desk = FakeDesk()
    async with client_of(services(catalog=desk, editor=desk)) as client:
        headers = {"Content-Type": "text/markdown"}
        answer = await client.call("PUT", "/catalog/small", data=TEXT, headers=headers)
        await client.call("PUT", "/catalog/large", json={"text": "other"})
        await client.call("DELETE", "/catalog/off")
    sent = {"small": TEXT, "large": "other", "off": None}
    by = Author("anonymous", "http")
    assert desk.written == [target_edit(name, text, author=by) for name, text in sent.items()]
    assert answer.json["version"] == "c0ffee"
    assert answer.headers["ETag"] == f'"{tag(TEXT)}"'


@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        ({}, None),
        ({"If-Match": '"abc"'}, {"abc"}),
        ({"If-Match": 'W/"abc", "def"'}, {"abc", "def"}),
        ({"If-Match": "abc"}, {"abc"}),
        ({"If-Match": "*"}, {ANY}),
        ({"If-None-Match": "*"}, set()),
        ({"If-None-Match": '"abc"'}, None),
    ],
)
async def test_an_edit_says_what_its_editor_has_read(
    headers: dict[str, str], seen: set[str] | None
) -> None:
    """Each kind of edit, in each way HTTP has to say it."""
    desk = FakeDesk()
    async with client_of(services(catalog=desk, editor=desk)) as client:
        await client.call("PUT", "/catalog/small", json={"text": "x"}, headers=headers)
        await client.call("DELETE", "/catalog/small", headers=headers)
        await client.call("POST", "/catalog/small/revert", headers=headers)
    given = [*desk.written, desk.reverted[0][0]]
    assert [edit.seen.get("catalog/small.md") for edit in given] == [seen] * 3


async def test_an_edit_is_undone_by_its_newest_version_or_by_name() -> None:
    """A body is not needed; one that is there is checked."""
    desk = FakeDesk()
    async with client_of(services(catalog=desk, editor=desk)) as client:
        listed = await client.get("/catalog/small/history")
        for body, status in (
            (b"", 200),
            (b"{}", 200),
            (b'{"version": "1"}', 200),
            (b'{"version": 1}', 400),
            (b"[", 400),
        ):
            answer = await client.post("/catalog/small/revert", body)
            assert answer.status == status, body
    assert listed.json == {
        "id": "small",
        "versions": [
            {"version": "2", "at": 2.0, "text": "two"},
            {"version": "1", "at": 1.0, "text": None},
        ],
    }
    assert [version for _, version in desk.reverted] == [None, None, "1"]


async def test_a_catalog_that_cannot_be_edited_has_no_such_paths() -> None:
    """And the document does not claim them."""
    async with client_of(services()) as client:
        put = await client.call("PUT", "/catalog/small", data="x")
        preview = await client.post("/catalog/preview", {"id": "small", "text": "x"})
        document = await client.get("/openapi.json")
    assert (put.status, preview.status) == (404, 404)
    assert not [path for path in document.json["paths"] if path.startswith("/catalog/")]
