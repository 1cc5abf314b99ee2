"""The prompts directory over HTTP, on a real disk: files, versions, differences, the way back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmrouter.catalog.live_catalog import CatalogHolder
from llmrouter.catalog.versions import tag
from tests.api.fakes import Client, client_of, services
from tests.api.handlers.test_catalog import KEYS, bearer
from tests.api.test_openapi import check
from tests.catalog.prompts_dir import LARGE, ROUTING, SMALL, files, written

ADMIN = bearer("sk-admin")
WIDE = SMALL.replace("8000", "9000")


@asynccontextmanager
async def editing(directory: Path) -> AsyncIterator[Client]:
    """A client of a service over a directory."""
    holder = CatalogHolder(written(directory))
    given = services(catalog=holder, editor=holder, keyring=KEYS)
    async with client_of(given) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/prompts"),
        ("PUT", "/prompts"),
        ("GET", "/prompts/routing.yaml"),
        ("PUT", "/prompts/routing.yaml"),
        ("DELETE", "/prompts/catalog/small.md"),
        ("GET", "/prompts/versions"),
        ("GET", "/prompts/versions/1"),
        ("POST", "/prompts/versions/1/revert"),
        ("GET", "/prompts/diff?from=1"),
    ],
)
async def test_prompts_are_for_the_admin_key_alone(tmp_path: Path, method: str, path: str) -> None:
    """They say where money goes, and to whom requests are sent."""
    async with editing(tmp_path) as client:
        for key, status in (("sk-alice", 403), ("sk-eve", 401)):
            assert (await client.call(method, path, headers=bearer(key))).status == status


async def test_files_are_read_whole_or_one_at_a_time(tmp_path: Path) -> None:
    """With the ETags that edits go by."""
    async with editing(tmp_path) as client:
        whole = (await client.get("/prompts", headers=ADMIN)).json
        routing = await client.get("/prompts/routing.yaml", headers=ADMIN)
        missing = await client.get("/prompts/verifier.md", headers=ADMIN)
        strange = await client.get("/prompts/catalog/../../x.md", headers=ADMIN)
    check("Prompts", whole)
    assert whole["version"] == "1"
    assert whole["files"] == {
        path: {"text": text, "etag": tag(text)} for path, text in files().items()
    }
    assert (routing.body.decode(), routing.headers["ETag"]) == (ROUTING, f'"{tag(ROUTING)}"')
    assert routing.headers["Content-Type"] == "application/yaml"
    assert (missing.status, strange.status) == (404, 404)


async def test_an_edit_serves_and_is_a_version_with_its_author(tmp_path: Path) -> None:
    """One file by its path or several together; the answer names the new version."""
    async with editing(tmp_path) as client:
        one = await client.call("PUT", "/prompts/catalog/small.md", data=WIDE, headers=ADMIN)
        both = await client.call(
            "PUT",
            "/prompts",
            json={"files": {"routing.yaml": "default: small\n", "catalog/large.md": None}},
            headers=ADMIN,
        )
        gone = await client.call("DELETE", "/prompts/router.md", headers=ADMIN)
        listed = (await client.get("/prompts/versions", headers=ADMIN)).json
        page = (await client.get("/prompts/versions?limit=2&before=4", headers=ADMIN)).json
    for answer, version in ((one, "2"), (both, "3"), (gone, "4")):
        check("PromptsSaved", answer.json)
        assert answer.json["version"] == version
    assert one.headers["ETag"] == f'"{tag(WIDE)}"'
    assert one.json["catalog"]["targets"][1]["context_window"] == 9000
    assert [target["id"] for target in both.json["catalog"]["targets"]] == ["small"]
    check("Versions", listed)
    assert [(one["version"], one["by"], one["how"]) for one in listed["versions"]] == [
        ("4", "admin", "http"), ("3", "admin", "http"), ("2", "admin", "http"), ("1", None, "file"),
    ]  # fmt: skip
    assert listed["next"] is None
    assert listed["versions"][1]["removed"] == ["catalog/large.md"]
    assert ([one["version"] for one in page["versions"]], page["next"]) == (["3", "2"], "2")


async def test_two_editors_do_not_lose_each_others_edits(tmp_path: Path) -> None:
    """A stale ETag is 412, in the header or among several files, and nothing is written."""
    async with editing(tmp_path) as client:
        put = ("PUT", "/prompts/catalog/small.md")
        stale = {**ADMIN, "If-Match": f'"{tag(SMALL)}"'}
        assert (await client.call(*put, data=WIDE, headers=stale)).status == 200
        assert (await client.call(*put, data=SMALL, headers=stale)).status == 412
        body: dict[str, Any] = {"files": {"catalog/small.md": SMALL, "catalog/new.md": LARGE}}
        seen = {"catalog/small.md": tag(SMALL)}
        refused = await client.call("PUT", "/prompts", json={**body, "seen": seen}, headers=ADMIN)
        assert refused.status == 412
        assert not (tmp_path / "catalog" / "new.md").exists()
        seen = {"catalog/small.md": tag(WIDE)}
        body["seen"] = seen
        assert (await client.call("PUT", "/prompts", json=body, headers=ADMIN)).status == 200


async def test_versions_are_compared_and_brought_back(tmp_path: Path) -> None:
    """As text and as fields; the way back is a version of its own."""
    async with editing(tmp_path) as client:
        await client.call("PUT", "/prompts/catalog/small.md", data=WIDE, headers=ADMIN)
        first = (await client.get("/prompts/versions/1", headers=ADMIN)).json
        found = (await client.get("/prompts/diff?from=1", headers=ADMIN)).json
        back = await client.call("POST", "/prompts/versions/1/revert", headers=ADMIN)
        newest = (await client.get("/prompts/versions/3", headers=ADMIN)).json
    check("Version", first)
    check("VersionDiff", found)
    assert first["files"] == files()
    assert (found["from"], found["to"]) == ("1", "2")
    assert [one["text"] for one in found["changes"]] == ["target small: context_window 8000 → 9000"]
    assert "+context_window: 9000" in found["files"][0]["diff"]
    assert (back.json["version"], newest["how"], newest["note"]) == ("3", "revert", "version 1")
    assert (tmp_path / "catalog" / "small.md").read_text() == SMALL


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/prompts", {"files": {"routing.yaml": "default: nobody\n"}}, 400),
        ("PUT", "/prompts", {"files": {"../x.md": "x"}}, 400),
        ("PUT", "/prompts", {"files": {}}, 400),
        ("PUT", "/prompts", {"files": {"router.md": 7}}, 400),
        ("PUT", "/prompts", {"files": {"router.md": "x"}, "seen": ["x"]}, 400),
        ("PUT", "/prompts", {"file": {"router.md": "x"}}, 400),
        ("PUT", "/prompts/x.md", {"text": "x"}, 404),
        ("DELETE", "/prompts/verifier.md", None, 404),
        ("GET", "/prompts/diff", None, 400),
        ("GET", "/prompts/diff?from=7", None, 404),
        ("GET", "/prompts/versions?limit=0", None, 400),
        ("GET", "/prompts/versions?before=7", None, 400),
        ("GET", "/prompts/versions/7", None, 404),
        ("POST", "/prompts/versions/7/revert", None, 404),
    ],
)
async def test_what_does_not_fit_changes_nothing(
    tmp_path: Path, method: str, path: str, body: Any, status: int
) -> None:
    """And says why."""
    async with editing(tmp_path) as client:
        answer = await client.call(method, path, json=body, headers=ADMIN)
    assert answer.status == status, answer.body
    assert answer.error["message"]
    assert not (tmp_path / ".history").exists()


async def test_a_service_whose_catalog_cannot_be_edited_has_no_such_paths() -> None:
    """Nor does its document."""
    async with client_of(services()) as client:
        assert (await client.get("/prompts")).status == 404
        assert "/prompts" not in (await client.get("/openapi.json")).json["paths"]
