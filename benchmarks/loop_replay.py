"""Replays the learning loop from a cold start: how long is the router LLM needed, and at what cost?

    python -m benchmarks.loop_replay [--exponent 1.0] [--accuracy 0.8] [--html loop.html]

Nine open models' recorded outcomes arrive as traffic with repeats and near-repeats; see
`benchmarks.loop.workload` for the stream and `benchmarks.loop.replay` for the loop and
for what "agreed" means. It refuses to hide a miss: each promise is printed with what was reached.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.loop.replay import Loop, Replay, Served, Window, summary, windows
from benchmarks.loop.workload import RouterModel, Traffic, stream
from llmrouter.evaluation.benchmark.dataset import BadInput, Row, read
from llmrouter.evaluation.benchmark.html import document
from llmrouter.evaluation.benchmark.metrics import wilson
from llmrouter.evaluation.benchmark.plot import Axis, Plot, PlotLine, svg

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LLMROUTER_DATA", ROOT.parent / "shared" / "data"))
LAST = 1000
AGREEMENT = 0.95
USD_PER_REQUEST = {  # USD per 1M tokens / 1000: a request counts for 1,000 tokens
    "gemma-2-9b-it": 0.10e-3,
    "qwen2.5-7b-instruct": 0.20e-3,
    "codegemma-7b": 0.20e-3,
    "llama-3.1-8b-instruct": 0.20e-3,
    "llama3-chatqa-1.5-8b": 0.20e-3,
    "mistral-7b-instruct-v0.3": 0.20e-3,
    "llama-3.1-nemotron-51b-instruct": 0.90e-3,
    "llama-3.3-nemotron-super-49b-v1": 0.90e-3,
    "llama3-chatqa-1.5-70b": 0.90e-3,
}


def outcome_rows() -> list[Row]:
    """The nine-models rows, train and dev. Raises `BadInput` where they are absent."""
    sides = (read(DATA / f"nine-models.{side}.jsonl.gz") for side in ("train", "dev"))
    return [row for one in sides for row in one.rows]


def part(value: float | None) -> str:
    """A share, or a dash."""
    return "    –" if value is None else f"{value:5.1%}"


def table(parts: Sequence[Window]) -> None:
    """Prints one line a window."""
    print(
        f"{'requests':>9} {'router':>7} {'of new':>7} {'of near':>8} {'learned':>8} {'cached':>7} "
        f"{'agreed':>7} {'same':>6} {'audited':>9} {'score':>6} {'if asked':>8} "
        f"{'$/1k':>6} {'if asked':>8}"
    )
    for one in parts:
        audited = f"{one.audited:>3} {part(one.audited_agreement)}"
        print(
            f"{one.end:>9,} {part(one.needed):>7} {part(one.by_kind['new']):>7} "
            f"{part(one.by_kind['near']):>8} {part(one.learned):>8} {part(one.cached):>7} "
            f"{part(one.agreement):>7} {part(one.same):>6} {audited:>9} {one.score:>6.3f} "
            f"{one.asked_score:>8.3f} {one.usd * 1000:>6.3f} {one.asked_usd * 1000:>8.3f}"
        )


def promises(served: Sequence[Served], cache_only: Sequence[Served]) -> None:
    """Prints what the loop is to reach beside what it reached."""
    end, whole = summary(served[-LAST:], len(served)), summary(served, len(served))
    alone = summary(cache_only[-LAST:], len(cache_only))
    audited = wilson(round((whole.audited_agreement or 0.0) * whole.audited), whole.audited)
    learned = sum(one.source == "learned" for one in served)
    agreed = wilson(round((whole.agreement or 0.0) * learned), learned)
    print()
    _promise("router LLM needed, last 1,000", "<= 10%", part(end.needed), end.needed <= 0.10)
    print(
        f"  and asked behind another {part(end.audits).strip()}, as audits that nobody waited for"
    )
    for name, one, count in (
        ("agreement, audited", audited, whole.audited),
        ("agreement, all learned answers", agreed, learned),
    ):
        low, high = part(one.low).strip(), part(one.high).strip()
        verdict = None if one.low < AGREEMENT <= one.high else one.value >= AGREEMENT
        shown = f"{part(one.value)} [{low}, {high}]" if count else "–"
        _promise(f"{name} ({count})", ">= 95%", shown, verdict if count else None)
    asked = f">= {whole.asked_score:.3f}"
    enough = whole.score >= whole.asked_score - 1e-9
    _promise("score against asking every time", asked, f"{whole.score:.3f}", enough)
    _names(whole, served)
    saved = 1 - whole.usd / whole.asked_usd
    print(f"spend with comparisons, router and audits: ${whole.usd * 1000:.3f} per 1,000 requests,")
    print(f"  {saved:.1%} less than asking every time (${whole.asked_usd * 1000:.3f})")
    print(f"without the learned model the cache alone leaves {alone.needed:.1%} to the router LLM;")
    print(f"  {end.kinds['new']:.1%} of the last 1,000 requests were new prompts")


def _names(whole: Window, served: Sequence[Served]) -> None:
    """Naming the same target, beside how often the router LLM does when it is asked again."""
    again = [one.again for one in served if one.again is not None]
    if again:
        itself = wilson(sum(again), len(again))
        interval = f"[{part(itself.low).strip()}, {part(itself.high).strip()}]"
        print(
            f"the same target: {part(whole.same).strip()}; the router LLM asked again "
            f"({len(again)}): {part(itself.value).strip()} {interval}"
        )


def _promise(name: str, wanted: str, reached: str, kept: bool | None) -> None:
    verdict = {True: "reached", False: "NOT REACHED", None: "too few to say"}[kept]
    print(f"{name:<42} {wanted:>9}  {reached:<24} {verdict}")


def chart(parts: Sequence[Window], settings: str) -> str:
    """One page: shares, agreement, score and spend over time."""
    at = [one.end for one in parts]
    known = [one for one in parts if one.agreement is not None]
    x = Axis("requests", 0, at[-1], "count")

    def figure(
        title: str, y: Axis, lines: list[PlotLine], rules: Sequence[tuple[float, str]]
    ) -> str:
        keys = "".join(f'<span><i class="{line.style}"></i>{line.name}</span>' for line in lines)
        drawn = svg(Plot(title, x, y, lines, (), rules))
        return f'<section><h2>{title}</h2><div class="legend">{keys}</div>{drawn}</section>'

    who = [
        PlotLine("router LLM", at, [one.needed for one in parts], "a"),
        PlotLine("learned model", at, [one.learned for one in parts], "d"),
        PlotLine("decision cache", at, [one.cached for one in parts], "c"),
        PlotLine("new prompts", at, [one.kinds["new"] for one in parts], "b"),
    ]
    agreement = [
        PlotLine(
            "worth no less than the router LLM's choice",
            [one.end for one in known],
            [one.agreement or 0.0 for one in known],
            "a",
        ),
        PlotLine("the same target", [o.end for o in known], [o.same or 0.0 for o in known], "c"),
    ]
    score = [
        PlotLine("the loop", at, [one.score for one in parts], "a"),
        PlotLine("asking every time", at, [one.asked_score for one in parts], "c"),
    ]
    spend = [
        PlotLine("the loop, all included", at, [one.usd * 1000 for one in parts], "a"),
        PlotLine("asking every time", at, [one.asked_usd * 1000 for one in parts], "c"),
        PlotLine("of it the router LLM", at, [one.router_usd * 1000 for one in parts], "b"),
    ]
    low = min(min(line.y) for line in score) - 0.01
    high = max(max(line.y) for line in score) + 0.01
    dear = max(max(line.y) for line in spend) * 1.1
    share = Axis("share of requests", 0, 1, "percent")
    body = "".join(
        [
            "<h1>The learning loop over time</h1>",
            f'<p class="soft">{settings}</p>',
            figure("Who decided", share, who, [(0.10, "10%")]),
            figure(
                "Agreement of learned answers",
                Axis("share", 0.4, 1, "percent"),
                agreement,
                [(0.95, "95%")],
            ),
            figure("Score", Axis("mean score", low, high), score, []),
            figure("Spend", Axis("USD per 1,000 requests", 0, dear, "dollars"), spend, []),
        ]
    )
    return document("The learning loop over time", body)


def main() -> None:
    """Runs the replay and prints it; always exit code 0: it measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--exponent", type=float, default=1.0, help="of the Zipf-like popularity")
    parser.add_argument("--near", type=float, default=0.3, help="share of repeats reworded")
    parser.add_argument("--after", type=float, default=0.0, help="of those, with words after too")
    parser.add_argument("--accuracy", type=float, default=0.8, help="of the router LLM")
    parser.add_argument("--router-usd", type=float, default=0.0001, help="of one router call")
    parser.add_argument("--agreement", type=float, default=0.95)
    parser.add_argument("--audit-rate", type=float, default=0.02)
    parser.add_argument("--trials", type=float, default=1.0, help="share of router calls compared")
    parser.add_argument("--by-name", action="store_true", help="nothing is graded: names alone")
    parser.add_argument("--one-window", action="store_true", help="trust over all tasks together")
    parser.add_argument("--file-order", action="store_true", help="do not shuffle first arrivals")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--html", type=Path)
    given = parser.parse_args()
    try:
        rows = outcome_rows()
    except BadInput as error:
        print(f"skipped: {error}")
        return
    traffic = Traffic(
        given.requests, given.exponent, given.near, given.after, not given.file_order, given.seed
    )
    router = RouterModel(given.accuracy, given.router_usd, seed=given.seed)
    loop = Loop(
        given.agreement,
        audit_rate=given.audit_rate,
        trials=given.trials,
        seed=given.seed,
        by_name=given.by_name,
        per_task=not given.one_window,
    )
    requests = stream(rows, traffic)
    screen = Console(stderr=True)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("replay", total=1.0)
        served = Replay(rows, USD_PER_REQUEST, router, loop).run(
            requests, lambda share: bar.update(task, completed=share)
        )
    alone = Replay(rows, USD_PER_REQUEST, router, Loop(learn=False)).run(requests)
    settings = (
        f"{given.requests:,} requests, Zipf exponent {given.exponent}, {given.near:.0%} of repeats "
        f"reworded; router LLM right {given.accuracy:.0%} of the time at ${given.router_usd} a "
        f"call; target agreement {given.agreement:.0%}, {given.audit_rate:.0%} audited"
    )
    print(settings)
    table(windows(served, LAST))
    promises(served, alone)
    if given.html is not None:
        given.html.write_text(chart(windows(served, LAST // 2), settings), "utf-8")
        print(f"plots: {given.html}", file=sys.stderr)


if __name__ == "__main__":
    main()
