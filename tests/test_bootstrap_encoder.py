"""The service with an embeddings server as its encoder: on sockets, with a model of its space."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmrouter.catalog.loader import load
from llmrouter.evaluation.benchmark.dataset import Row
from llmrouter.evaluation.training.examining import comparisons
from llmrouter.evaluation.training.labelling import label, of_row
from llmrouter.journal.journal import Journal
from llmrouter.learning.encoders.text_encoder import DenseEncoder
from llmrouter.learning.model.training import fit
from llmrouter.learning.online.snapshot import Snapshot, publish
from llmrouter.simulator.embeddings import WIDTH, embeddings, vector
from llmrouter.store.factory import open_store
from llmrouter.usage.totals import split, total
from tests.catalog.prompts_dir import ROUTING, written
from tests.test_bootstrap import Running, running

SPACE = "openai:sim-embed@https://embeddings.example/v1"
LEARNED = (
    f"learned: {{encoder: '{SPACE}', timeout_ms: 3000, target_agreement: 0.9, encoder_price: 20}}\n"
)
SUMS = ("What is {} + {}?", "Add up {} + {}.", "Compute {} * {}, please.")


class Counted:
    """The simulator's embeddings, counted, and failing when told to."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.broken = False

    def __call__(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The answer, or a 400."""
        if self.broken:
            raise ValueError("out of order")
        self.texts += document["input"]
        return embeddings(document)


def embed(texts: Sequence[str]) -> Any:
    """What the simulator gives."""
    return np.array([vector(text, "sim-embed") for text in texts], np.float32)


async def taught(address: str, prompts: Path) -> None:
    """Store a model of the space that knows what the catalog's rules say, and its record."""
    dice = random.Random(4)
    catalog = load(prompts)
    rows = [
        Row(str(n), dice.choice(SUMS).format(dice.randrange(900), dice.randrange(900)))
        for n in range(160)
    ]
    labels = label([of_row(row, catalog) for row in rows], catalog).labels
    encoder = DenseEncoder(SPACE, WIDTH, embed)
    record = comparisons(labels, [], encoder, 0, lambda _: None)
    fitted = fit([one.example() for one in labels], encoder=encoder)
    dumped: list[list[object]] = [[c.task, list(c.facts), *c[2:]] for c in record]
    store = open_store(address)
    snapshot = Snapshot(fitted.model, len(labels), dumped, time.time())
    await publish(store, snapshot.to_bytes())
    await store.close()


async def ask(up: Running, prompt: str, strategy: str = "auto") -> tuple[str, str]:
    """Source and target of a decision."""
    status, decided, _ = await up.post("/route", prompt=prompt, router={"strategy": strategy})
    assert status == 200
    return decided["source"], decided["target"]


async def loaded(up: Running) -> None:
    """Wait until the stored model serves; it is read behind the first requests."""
    source = ""
    async with asyncio.timeout(30):
        while source != "learned":
            await asyncio.sleep(0.02)
            source, _ = await ask(up, "What is 1 + 1?", "learned")


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """The simulator's embeddings under control."""
    counted = Counted()
    monkeypatch.setattr("llmrouter.simulator.app.embeddings", counted)
    return counted


async def test_it_is_asked_where_the_learned_stage_is_reached_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated: Counted
) -> None:
    """Not for rules, not for pinned models, not for what the cache answers, once a text."""
    address = f"disk:{tmp_path / 'store'}"
    prompts = written(tmp_path / "prompts", routing=ROUTING + LEARNED)
    await taught(address, prompts)
    async with running(tmp_path, monkeypatch, store=address) as up:
        await loaded(up)
        simulated.texts.clear()
        assert await ask(up, "What is 12 + 30?", "learned") == ("learned", "large")
        assert await ask(up, "What is 12 + 30?", "learned") == ("learned", "large")
        assert simulated.texts == ["What is 12 + 30?"]
        assert await ask(up, "What is 3 + 4?") == ("rules", "large")
        _, pinned, _ = await up.post("/route", prompt="Sing.", model="small")
        assert pinned["source"] == "pinned"
        assert len(simulated.texts) == 1
        assert (await ask(up, "Say something about rain."))[0] == "llm"
        assert (await ask(up, "Say something about rain."))[0] == "cache"
        assert simulated.texts[1:] == ["Say something about rain."]


async def test_what_it_costs_is_on_the_bill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the metrics, in the net figures of `/stats`, and in the report from the journal."""
    address = f"disk:{tmp_path / 'store'}"
    written(tmp_path / "prompts", routing=ROUTING + LEARNED)
    async with running(tmp_path, monkeypatch, store=address) as up:
        await ask(up, "Say something about rain.")
        _, stats = await up.get("/stats")
        _, text = await up.get("/metrics")
    spent = stats["encoder_spend_usd"]
    assert spent > 0.0
    assert stats["spend_usd"] == pytest.approx(stats["router_spend_usd"] + spent)
    weekly = stats["today_and_last_week"][""]["sim-embed"]["now"]
    assert weekly["embeddings_usd"] == weekly["spent_usd"] == pytest.approx(spent)
    samples = dict(line.split() for line in text.splitlines() if line.startswith("llmrouter_enc"))
    assert float(samples["llmrouter_encoder_tokens_total"]) * 20e-6 == pytest.approx(spent)
    store = open_store(address)
    told = split(await Journal(store).tail(100), (0.0, time.time() + 60.0))
    await store.close()
    assert total(told[0].values()).embeddings == pytest.approx(spent)


async def test_when_it_fails_others_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated: Counted,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """The router LLM, or the default; it is counted and said once, without the text."""
    address = f"disk:{tmp_path / 'store'}"
    prompts = written(tmp_path / "prompts", routing=ROUTING + LEARNED)
    await taught(address, prompts)
    async with running(tmp_path, monkeypatch, store=address) as up:
        await loaded(up)
        simulated.broken = True
        with caplog.at_level(logging.WARNING):
            assert await ask(up, "What is 12 + 30?", "learned") == ("default", "small")
            assert (await ask(up, "Say something about rain."))[0] == "llm"
        said = [one for one in caplog.records if "learned preferences abstain" in one.message]
        assert len(said) == 1
        assert SPACE in caplog.text
        assert "12 + 30" not in caplog.text
        _, metrics = await up.get("/metrics")
        assert 'llmrouter_encoder_failures_total{kind="http"} 2' in metrics
        simulated.broken = False
        assert await ask(up, "What is 12 + 30?", "learned") == ("learned", "large")
