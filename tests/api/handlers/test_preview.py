"""POST /catalog/preview: what is asked for, checked, and the report as it comes."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from llmrouter.api.handlers.preview import LAST, MOST, parse_edits
from llmrouter.catalog.loader import Edits
from llmrouter.errors import BadRequest, CatalogInvalid, Problem
from tests.api.fakes import FakeDesk, client_of, services
from tests.api.handlers.test_catalog import KEYS, bearer
from tests.api.test_openapi import check


class Looks:
    """A preview that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Edits, int]] = []
        self.fails: Exception | None = None

    async def preview(self, edits: Edits, last: int) -> bytes:
        """A report, or the failure."""
        self.asked.append((edits, last))
        if self.fails is not None:
            raise self.fails
        return b'{"moved":0}'


async def test_a_preview_is_for_the_admin_key_and_writes_nothing() -> None:
    """The report comes as it is; an edit that cannot serve is a 400 with its places."""
    looks, desk = Looks(), FakeDesk()
    given = services(catalog=desk, editor=desk, preview=looks.preview, keyring=KEYS)
    body = {"id": "small", "text": "x", "last": 7}
    async with client_of(given) as client:
        for key, status in (("sk-alice", 403), ("sk-eve", 401), ("sk-admin", 200)):
            answer = await client.post("/catalog/preview", body, headers=bearer(key))
            assert answer.status == status
        assert answer.json == {"moved": 0}
        looks.fails = CatalogInvalid((Problem("catalog/small.md", 3, "unknown key"),))
        answer = await client.post("/catalog/preview", body, headers=bearer("sk-admin"))
    assert looks.asked == [({"catalog/small.md": "x"}, 7)] * 2
    assert (answer.status, answer.error["code"]) == (400, "catalog_invalid")
    assert answer.error["message"] == "catalog/small.md:3: unknown key"
    assert desk.written == []


async def test_a_revert_is_previewed_as_the_edit_it_would_be() -> None:
    """Files that were not there in that version go."""
    looks, desk = Looks(), FakeDesk()
    async with client_of(services(catalog=desk, editor=desk, preview=looks.preview)) as client:
        answer = await client.post("/catalog/preview", {"version": "1"})
    assert answer.status == 200
    assert looks.asked == [({"catalog/small.md": "as in 1", "catalog/new.md": None}, LAST)]


@pytest.mark.parametrize(
    ("document", "edits"),
    [
        ({"id": "small", "text": "x"}, {"catalog/small.md": "x"}),
        ({"id": "small", "text": None}, {"catalog/small.md": None}),
        (
            {"files": {"routing.yaml": "a", "catalog/s.md": None, "router.md": "b"}},
            {"routing.yaml": "a", "catalog/s.md": None, "router.md": "b"},
        ),
    ],
)
def test_an_edit_is_of_one_target_or_of_files(document: dict[str, Any], edits: Edits) -> None:
    """Null takes a file away; how many requests is bounded and has a default."""
    assert parse_edits(document) == (edits, LAST)
    assert parse_edits({**document, "last": MOST}) == (edits, MOST)
    assert parse_edits({**document, "last": 3.0}) == (edits, 3)
    check("CatalogEdit", {**document, "last": 3})


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({}, "id"),
        ({"id": 7, "text": "x"}, "id"),
        ({"id": "../routing", "text": "x"}, "id"),
        ({"id": "small"}, "text"),
        ({"id": "small", "text": 7}, "text"),
        ({"id": "small", "txt": "x"}, "txt"),
        ({"files": {}}, "files"),
        ({"version": 3}, "version"),
        ({"version": "3", "files": {"routing.yaml": "a"}}, "files"),
        ({"files": ["routing.yaml"]}, "files"),
        ({"files": {"../secret": "x"}}, "files"),
        ({"files": {"catalog/../x.md": "x"}}, "files"),
        ({"files": {"catalog/auto.md": "x"}}, "files"),
        ({"files": {"routing.yaml": 1}}, "files.routing.yaml"),
        ({"files": {"routing.yaml": "x"}, "id": "small"}, "id"),
        ({"id": "small", "text": "x", "last": 0}, "last"),
        ({"id": "small", "text": "x", "last": MOST + 1}, "last"),
        ({"id": "small", "text": "x", "last": 1.5}, "last"),
        ({"id": "small", "text": "x", "last": True}, "last"),
        ({"id": "small", "text": "x", "last": "all"}, "last"),
    ],
)
def test_what_is_no_edit_is_named(document: dict[str, Any], param: str) -> None:
    """The parameter that is wrong; the document says the same, but for what an id may be."""
    with pytest.raises(BadRequest) as refused:
        parse_edits(document)
    assert refused.value.param == param
    if param != "id" and "catalog/auto.md" not in document.get("files", {}):
        with pytest.raises(jsonschema_rs.ValidationError):
            check("CatalogEdit", document)
