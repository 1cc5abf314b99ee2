"""Canaries and checks over HTTP: what is passed on and what is refused."""

from __future__ import annotations

import pytest

from tests.api.fakes import NoCanary, client_of, no_check, services


async def test_a_start_passes_its_files_and_share_on() -> None:
    """A tenth of the sessions unless it says otherwise."""
    async with client_of(services(canary=NoCanary())) as client:
        answer = await client.post("/canary", {"files": {"routing.yaml": "default: a\n"}})
        assert answer.status == 201
        assert answer.json == {
            "status": "running", "share": 0.1, "files": ["routing.yaml"],
        }  # fmt: skip
        assert (await client.get("/canary")).json["status"] == "none"
        assert (await client.post("/canary/stop")).status == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"files": ["routing.yaml"]},
        {"files": {"routing.yaml": 1}},
        {"files": {"../x.md": ""}},
        {"files": {"catalog/../../x.md": ""}},
        {"files": {".env": ""}},
        {"files": {}, "share": "10%"},
    ],
)
async def test_what_is_no_catalog_is_refused(body: dict[str, object]) -> None:
    """Above all a path that leads elsewhere."""
    async with client_of(services(canary=NoCanary(), check=no_check)) as client:
        assert (await client.post("/canary", body)).status == 400
        if "share" not in body:
            assert (await client.post("/catalog/check", body)).status == 400


async def test_a_check_lists_problems_by_file_and_line() -> None:
    """Of the edited files, a deleted one included."""
    async with client_of(services(check=no_check)) as client:
        answer = await client.post("/catalog/check", {"files": {"catalog/a.md": None}})
        assert answer.json == {
            "ok": False,
            "problems": [{"file": "catalog/a.md", "line": 1, "message": "wrong"}],
            "warnings": [],
        }
