"""The catalog edited over HTTP on the real service: previewed, saved, served, undone."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.catalog.prompts_dir import SMALL
from tests.test_bootstrap import Running, running

LOUD = SMALL.replace("capabilities: [tools]", "capabilities: []")


async def preview(up: Running, **body: Any) -> tuple[int, Any]:
    """What an edit would change."""
    status, document, _ = await up.post("/catalog/preview", **body)
    return status, document


@pytest.mark.parametrize("record", [True, False])
async def test_what_was_asked_is_replayed_under_the_edit(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, record: bool
) -> None:
    """With the text where it was recorded, and never otherwise; nothing changes by asking."""
    async with running(tmp_path, monkeypatch, record_prompts=record) as up:
        tools = [{"type": "function", "function": {"name": "search", "parameters": {}}}]
        for prompt in ("Tell me about swordfish.", "What is 12 * 13?"):
            await up.post("/route", prompt=prompt, tools=tools)
        report: dict[str, Any] = {}
        async with asyncio.timeout(60):
            while report.get("recorded") != 2:  # the journal is written behind the requests
                status, report = await preview(up, id="small", text=LOUD)
                assert status == 200
        assert [change["field"] for change in report["changes"]] == ["capabilities"]
        assert (report["recorded"], report["told"]) == (2, 2 * record)
        (shift,) = report["eligibility"]
        assert (shift["target"], shift["requests"], shift["reason"]) == ("small", 2, "lacks tools")
        assert ("swordfish" in orjson.dumps(report).decode()) == (record and report["moved"] > 0)
        _, catalog = await up.get("/catalog")
        assert catalog["targets"][1]["capabilities"] == ["tools"]
        status, refused = await preview(up, files={"routing.yaml": "default: nobody\n"})
        assert (status, refused["error"]["code"]) == (400, "catalog_invalid")
        assert "routing.yaml:1: " in refused["error"]["message"]


async def test_an_edit_serves_at_once_and_is_undone(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two editors is told; a removed target is out, and comes back."""
    async with running(tmp_path, monkeypatch) as up:
        async with up.client.get("/catalog/small") as answer:
            assert await answer.text() == SMALL
            seen = {"If-Match": answer.headers["ETag"]}
        for status in (200, 412):
            body = {"text": SMALL.replace("8000", "9000")}
            async with up.client.put("/catalog/small", json=body, headers=seen) as answer:
                assert answer.status == status
        _, catalog = await up.get("/catalog")
        assert catalog["targets"][1]["context_window"] == 9000
        _, past = await up.get("/catalog/small/history")
        assert [version["text"] for version in past["versions"]] == [SMALL]
        async with up.client.put("/catalog/third", json={"text": SMALL}) as answer:
            assert len((await answer.json())["targets"]) == 3
        for name in ("third", "small"):
            status, catalog, _ = await up.post(f"/catalog/{name}/revert")
            assert status == 200
        assert [target["id"] for target in catalog["targets"]] == ["large", "small"]
        assert catalog["targets"][1]["context_window"] == 8000
        async with up.client.delete("/catalog/small") as answer:
            assert answer.status == 400  # it is the default
        assert (await up.get("/readyz"))[1]["catalog"]["problems"] == []


async def test_no_door_for_edits_gives_away_a_secret_or_reaches_metadata(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving, checking, previewing and a canary refuse the same edits; listed ones are taken."""
    stolen = SMALL.replace("EXAMPLE_KEY", "AWS_SECRET_ACCESS_KEY")
    reached = SMALL.replace("https://api.example.com", "http://0xA9FEA9FE")
    elsewhere = SMALL.replace("api.example.com", "collect.example")
    read = SMALL.replace("api_key_env: EXAMPLE_KEY", "api_key_file: /proc/self/environ")
    async with running(tmp_path, monkeypatch, catalog_keys="GROQ_*, TEAM_KEY") as up:
        before = (up.directory / "catalog" / "small.md").read_text()
        for text in (stolen, reached, elsewhere, read):
            files = {"catalog/small.md": text}
            async with up.client.put("/catalog/small", json={"text": text}) as answer:
                assert (answer.status, await _code(answer)) == (400, "catalog_invalid")
            async with up.client.put("/prompts", json={"files": files}) as answer:
                assert (answer.status, await _code(answer)) == (400, "catalog_invalid")
            _, found, _ = await up.post("/catalog/check", files=files)
            assert not found["ok"]
            assert "LLMROUTER_CATALOG_" in found["problems"][0]["message"]
            for status, refused in (
                await preview(up, id="small", text=text),
                (await up.post("/canary", files={**written_files(up), **files}))[:2],
            ):
                assert (status, refused["error"]["code"]) == (400, "catalog_invalid")
        assert (up.directory / "catalog" / "small.md").read_text() == before
        listed = elsewhere.replace("EXAMPLE_KEY", "GROQ_API_KEY")
        async with up.client.put("/catalog/third", json={"text": listed}) as answer:
            assert answer.status == 200
        mine = reached.replace("8000", "9001")  # the operator's own edit
        (up.directory / "catalog" / "small.md").write_text(mine)
        async with asyncio.timeout(30):
            while (await up.get("/catalog"))[1]["targets"][1]["context_window"] != 9001:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        async with up.client.put("/catalog/small", json={"text": f"{mine} Edited."}) as answer:
            assert answer.status == 200


def written_files(up: Running) -> dict[str, str]:
    """The files of the directory, by path."""
    paths = [*up.directory.glob("*.*"), *(up.directory / "catalog").glob("*.md")]
    return {str(path.relative_to(up.directory)): path.read_text() for path in paths}


async def _code(answer: Any) -> str:
    return str((await answer.json())["error"]["code"])
