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
