"""A decision under edited files leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrouter.bootstrap.trial import Trial
from llmrouter.catalog.live_catalog import CatalogHolder
from llmrouter.domain.chat import ANONYMOUS
from llmrouter.errors import CatalogInvalid
from tests.catalog.prompts_dir import ROUTING, written
from tests.fakes import a_request
from tests.test_gateway import Bench

RULES = ROUTING.split("router:")[0]


async def test_edited_files_decide_and_nothing_is_kept(tmp_path: Path) -> None:
    """The edited default answers; log, journal and the files on disk are as they were."""
    holder, bench = CatalogHolder(written(tmp_path, routing=RULES)), Bench()
    trial = Trial(bench.gateway._rooms, holder)
    edits = {"routing.yaml": RULES.replace("default: small", "default: large")}
    decision = await trial.decide(edits, a_request(), ANONYMOUS)
    assert (decision.target, decision.source) == ("large", "default")
    assert (await trial.decide({}, a_request(), ANONYMOUS)).target == "small"
    assert bench.notes.kept == []
    assert bench.notes.questions == []
    assert (tmp_path / "routing.yaml").read_text() == RULES


async def test_files_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    """As a save would refuse them."""
    trial = Trial(Bench().gateway._rooms, CatalogHolder(written(tmp_path, routing=RULES)))
    with pytest.raises(CatalogInvalid, match="nobody"):
        await trial.decide({"routing.yaml": "default: nobody\n"}, a_request(), ANONYMOUS)
