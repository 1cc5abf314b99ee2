"""How long a catalog's page waits: for a check as one types, and for a preview on recorded traffic.

Run as `python -m benchmarks.catalog_edits [REQUESTS]`. The shipped catalog, a store on disk with
as many recorded requests, their text included. Prints CPU time, the preview's own process included,
and wall time, which on a busy machine says little. Exits with 1 when a check (the median) takes
over 50 ms or a preview over 5 s of CPU.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import orjson

from llmrouter.api.request_parser import Endpoint, parse
from llmrouter.catalog.live_catalog import CatalogHolder
from llmrouter.domain.chat import Caller
from llmrouter.domain.decision import RoutingContext
from llmrouter.features.extractor import Extractor
from llmrouter.features.fingerprint import Fingerprinter
from llmrouter.journal.journal import Journal, JournalOptions
from llmrouter.preview import Place, Previewer
from llmrouter.shipped import shipped_prompts
from llmrouter.store.factory import open_store
from tests.fakes import a_decision

REQUESTS = 1000
CHECKS = 20
CHECK_MS = 50.0
PREVIEW_S = 5.0
PROMPTS = (
    "Summarise this paragraph about the harbour, number {}, in one sentence.",
    "Write a Python function that sorts {} records by two keys and explain its cost.",
    "What is {} * 17, and why?",
    "Translate into French: the meeting of group {} starts at nine.",
)


async def record(address: str, holder: CatalogHolder, requests: int) -> None:
    """Journal as many requests, each a kilobyte."""
    store = open_store(address, shared=True)
    journal = Journal(store, JournalOptions(record_prompts=True))
    extractor, caller = Extractor(Fingerprinter(bytes(32))), Caller("bench")
    eligible = tuple(target.id for target in holder.current.enabled)
    for number in range(requests):
        text = PROMPTS[number % len(PROMPTS)].format(number) + " Context follows." * 50
        body = orjson.dumps({"prompt": text})
        request = parse(body, Endpoint.COMPLETE)
        features = extractor.features(request, caller)
        context = RoutingContext(request, features, holder.current, eligible, caller=caller)
        target = eligible[number % len(eligible)]
        decision = a_decision(target, decision_id=f"d-{number}", task=features.traits.task)
        journal.decided(decision, context)
        if number % 500 == 499:
            await journal.flush()
    await journal.flush()
    await store.close()


def cpu_s() -> float:
    """CPU seconds of this process and of those it has waited for."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@dataclass(frozen=True)
class Measured:
    """Of a check in ms (the median), of a preview in s, each by CPU and by the clock."""

    check_cpu_ms: float
    check_ms: float
    preview_cpu_s: float
    preview_s: float
    headline: str


async def measured(directory: Path, requests: int) -> Measured:
    """Both, on a copy of the shipped catalog."""
    shutil.copytree(shipped_prompts(), directory / "prompts", ignore=shutil.ignore_patterns(".*"))
    address = f"disk:{directory / 'store'}"
    holder = CatalogHolder(directory / "prompts")
    await record(address, holder, requests)
    path = f"catalog/{holder.current.default}.md"
    text = await holder.read(path)
    took, spent = [], []
    for number in range(CHECKS):
        began, began_cpu = time.perf_counter(), cpu_s()
        await holder.check({path: f"{text}{'.' * number}"})
        took.append((time.perf_counter() - began) * 1000)
        spent.append((cpu_s() - began_cpu) * 1000)
    routing = await holder.read("routing.yaml")
    edit = {
        "routing.yaml": routing.replace("quality: 0.5", "quality: 0.9"),
        path: text + "Better now.",
    }
    began, began_cpu = time.perf_counter(), cpu_s()
    report = await Previewer(holder, Place(directory / "prompts", address)).preview(edit, requests)
    seconds, cpu = time.perf_counter() - began, cpu_s() - began_cpu
    document = orjson.loads(report)
    assert document["replayed"] == requests, document
    return Measured(median(spent), median(took), cpu, seconds, document["headline"])


def main(arguments: list[str] | None = None) -> int:
    """Print both."""
    given = sys.argv[1:] if arguments is None else arguments
    requests = int(given[0]) if given else REQUESTS
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(measured(Path(directory), requests))
    print(f"{'':30} {'CPU':>9} {'clock':>9} {'at most':>9}")
    check = f"{found.check_cpu_ms:6.1f} ms {found.check_ms:6.1f} ms {CHECK_MS:6.0f} ms"
    print(f"{'a check as one types':30} {check}")
    preview = f"{found.preview_cpu_s:7.2f} s {found.preview_s:7.2f} s {PREVIEW_S:7.0f} s"
    print(f"{f'a preview of {requests} requests':30} {preview}")
    print(f"  {found.headline}")
    return int(found.check_cpu_ms > CHECK_MS or found.preview_cpu_s > PREVIEW_S)


if __name__ == "__main__":
    sys.exit(main())
