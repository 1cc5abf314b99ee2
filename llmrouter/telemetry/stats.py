"""What `/stats` shows: counts, rates, spend, savings, and quality to cost per task and target.

Where tenants are kept apart each has figures of its own, beside everyone's: what a decision says
by itself of the cache and the router LLM stands there for their own counts.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import Decision, Feedback, ShadowComparison, Source

PER_DOUBLING = 8
"""How finely times are counted: percentiles are right to one part in eleven."""
Key = tuple[str, ...]
REFUSED = frozenset({"failed", "rejected"})
ASKED_THE_CACHE = {Source.CACHE: "hit", Source.LLM: "miss", Source.LEARNED: "miss"}


@dataclass(slots=True)
class TaskTargetTotals:
    """One task at one target.

    `accepted` and `refused` count its attempts: `refused` are those that failed or that a cascade
    rejected. `cost_usd` is what executions that ended here cost, rejected attempts and judges
    included, `router_usd` what the router LLM took to choose this target.
    """

    completions: int = 0
    failed: int = 0
    accepted: int = 0
    refused: int = 0
    cost_usd: float = 0.0
    router_usd: float = 0.0
    best_usd: float = 0.0
    ratings: int = 0
    score: float = 0.0

    def public(self) -> dict[str, Any]:
        """As shown.

        `quality` maps the mean rating to 0..1, None without a rating; `acceptance` is the share
        of attempts whose answer was taken. `quality_per_usd` uses the first of the two there is,
        for everything that was spent.
        """
        quality = (self.score / self.ratings + 1) / 2 if self.ratings else None
        tried = self.accepted + self.refused
        acceptance = self.accepted / tried if tried else None
        mean = (self.cost_usd + self.router_usd) / self.completions if self.completions else None
        known = acceptance if quality is None else quality
        return {
            "completions": self.completions,
            "failed": self.failed,
            "cost_usd": self.cost_usd,
            "router_usd": self.router_usd,
            "cost_per_task_usd": mean,
            "best_target_usd": self.best_usd,
            "ratings": self.ratings,
            "quality": quality,
            "acceptance": acceptance,
            "quality_per_usd": known / mean if known is not None and mean else None,
        }


@dataclass(slots=True)
class Compared:
    """One strategy that decides alongside: see `ShadowComparison`. Sums over choices, and over
    those whose
    quality was estimated on both sides.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    usd: float = 0.0
    live_usd: float = 0.0
    estimated: int = 0
    quality: float = 0.0
    live_quality: float = 0.0
    own_usd: float = 0.0

    def add(self, one: ShadowComparison) -> None:
        """One comparison."""
        self.outcomes[one.outcome] += 1
        self.own_usd += one.own_usd
        if one.usd is not None:
            self.usd += one.usd
            self.live_usd += one.live_usd
        if one.quality is not None and one.live_quality is not None:
            self.estimated += 1
            self.quality += one.quality
            self.live_quality += one.live_quality

    def public(self) -> dict[str, Any]:
        """As shown: shares and means, None where there is nothing to divide by."""
        chose = self.outcomes["agreed"] + self.outcomes["disagreed"]
        known = self.estimated
        return {
            "requests": sum(self.outcomes.values()),
            "outcomes": dict(self.outcomes),
            "agreement": self.outcomes["agreed"] / chose if chose else None,
            "usd_per_request": self.usd / chose if chose else None,
            "live_usd_per_request": self.live_usd / chose if chose else None,
            "estimated_quality": self.quality / known if known else None,
            "live_estimated_quality": self.live_quality / known if known else None,
            "own_usd": self.own_usd,
        }


@dataclass(slots=True)
class Stats:
    """This process's figures since it started."""

    started_at: float = field(default_factory=time.time)
    by_source: Counter[str] = field(default_factory=Counter)
    by_target: Counter[str] = field(default_factory=Counter)
    cache: Counter[str] = field(default_factory=Counter)
    router: Counter[str] = field(default_factory=Counter)
    router_usd: float = 0.0
    encoder_usd: float = 0.0
    tallies: dict[tuple[str, str], TaskTargetTotals] = field(default_factory=dict)
    by_key: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    shadows: defaultdict[str, Compared] = field(default_factory=lambda: defaultdict(Compared))
    decision_ms: Counter[int] = field(default_factory=Counter)
    target_ms: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    errors: Counter[str] = field(default_factory=Counter)

    def decided(self, decision: Decision) -> None:
        """One decision."""
        self.by_source[decision.source] += 1
        self.by_target[decision.target] += 1
        self.decision_ms[bucket(decision.timing_ms)] += 1

    def decided_apart(self, decision: Decision) -> None:
        """One decision of a tenant's, with what it says of cache and router LLM."""
        self.decided(decision)
        if (outcome := ASKED_THE_CACHE.get(decision.source)) is not None:
            self.cache[outcome] += 1
        if decision.source is Source.LLM or decision.router_cost_usd:
            outcome = "ok" if decision.source is Source.LLM else "failed"
            self.router_called(outcome, decision.router_cost_usd)

    def routed(self, task: str, decision: Decision) -> None:
        """What the router LLM took for one decision. `task` is one of a bounded set."""
        self._tally(task, decision.target).router_usd += decision.router_cost_usd

    def router_called(self, outcome: str, cost_usd: float) -> None:
        """One call of the router LLM."""
        self.router[outcome] += 1
        self.router_usd += cost_usd

    def completed(self, task: str, completion: Completion, best_usd: float) -> None:
        """One execution; its cost includes what was rejected. `task` is one of a bounded set."""
        for attempt in completion.attempts:
            tried = self._tally(task, attempt.target)
            tried.accepted += attempt.outcome == "ok"
            tried.refused += attempt.outcome in REFUSED
            self.errors[attempt.target] += attempt.outcome == "failed"
            if attempt.outcome == "ok":
                self.target_ms[attempt.target][bucket(attempt.latency_ms)] += 1
        tally = self._tally(task, completion.target)
        tally.completions += 1
        tally.failed += not any(a.outcome == "ok" for a in completion.attempts)
        tally.cost_usd += completion.cost_usd
        tally.best_usd += best_usd

    def observe_feedback(self, task: str, decision: Decision, feedback: Feedback) -> None:
        """A key's first rating of a decision, or another in its place."""
        tally = self._tally(task, decision.target)
        tally.ratings += feedback.earlier is None
        tally.score += feedback.score - (feedback.earlier or 0.0)

    def snapshot(self) -> dict[str, Any]:
        """Everything, as JSON-ready values. `savings` is against always using the best target."""
        decisions = sum(self.by_source.values())
        looked = sum(n for k, n in self.cache.items() if k != "off")
        spent = sum(t.cost_usd for t in self.tallies.values())
        best = sum(t.best_usd for t in self.tallies.values())
        total = spent + self.router_usd + self.encoder_usd
        tasks: dict[str, dict[str, Any]] = {}
        for (task, target), tally in sorted(self.tallies.items()):
            tasks.setdefault(task, {})[target] = tally.public()
        return {
            "uptime_s": time.time() - self.started_at,
            "decisions": decisions,
            "cache_hit_rate": (self.cache["hit"] + self.cache["stale"]) / looked if looked else 0.0,
            "router_calls": sum(self.router.values()),
            "router_spend_usd": self.router_usd,
            "encoder_spend_usd": self.encoder_usd,
            "downstream_spend_usd": spent,
            "spend_usd": total,
            "best_target_spend_usd": best,
            "savings_usd": best - total,
            "savings_rate": (best - total) / best if best > 0 else 0.0,
            "decision_p50_ms": quantile(self.decision_ms, 0.5),
            "decision_p99_ms": quantile(self.decision_ms, 0.99),
            "by_source": {str(name): n for name, n in self.by_source.items()},
            "source_rates": {str(name): n / decisions for name, n in self.by_source.items()},
            "by_target": dict(self.by_target),
            "targets": {
                name: {
                    "errors": self.errors[name],
                    "latency_p50_ms": quantile(self.target_ms[name], 0.5),
                    "latency_p95_ms": quantile(self.target_ms[name], 0.95),
                }
                for name in sorted(self.errors.keys() | self.target_ms.keys())
            },
            "cache": dict(self.cache),
            "router_outcomes": dict(self.router),
            "spend_by_key_usd": dict(self.by_key),
            "shadow": {name: one.public() for name, one in self.shadows.items()},
            "tasks": tasks,
        }

    def flat(self) -> dict[Key, float]:
        """Every sum under a key of its own, so that sums of workers and hours can be added up."""
        out: dict[Key, float] = {("router_usd",): self.router_usd}
        out["encoder_usd",] = self.encoder_usd
        for name in COUNTERS:
            counted: Mapping[Any, float] = getattr(self, name)
            for key, value in counted.items():
                out[name, str(key)] = value
        for target, times in self.target_ms.items():
            for number, count in times.items():
                out["target_ms", target, str(number)] = count
        for (task, target), tally in self.tallies.items():
            for part in fields(TaskTargetTotals):
                out["tallies", task, target, part.name] = getattr(tally, part.name)
        for name, one in self.shadows.items():
            for outcome, count in one.outcomes.items():
                out["shadow_outcomes", name, outcome] = count
            for summed in COMPARED:
                out["shadows", name, summed] = getattr(one, summed)
        return {key: value for key, value in out.items() if value}

    @classmethod
    def of(cls, figures: Mapping[Key, float]) -> Stats:
        """The statistics that `flat` made these sums from; keys of another build say nothing."""
        stats = cls()
        for key, value in figures.items():
            match key:
                case ("router_usd" | "encoder_usd" as name,):
                    setattr(stats, name, value)
                case ("decision_ms", number):
                    stats.decision_ms[int(number)] = int(value)
                case ("by_key", name):
                    stats.by_key[name] = value
                case (name, word) if name in COUNTERS:
                    getattr(stats, name)[word] = int(value)
                case ("target_ms", target, number):
                    stats.target_ms[target][int(number)] = int(value)
                case ("tallies", task, target, name) if name in TALLIED:
                    setattr(stats._tally(task, target), name, value)
                case ("shadow_outcomes", name, outcome):
                    stats.shadows[name].outcomes[outcome] = int(value)
                case ("shadows", name, part) if part in COMPARED:
                    setattr(stats.shadows[name], part, value)
        return stats

    def point(self) -> dict[str, Any]:
        """What a series over time shows of one piece of it."""
        shown = self.snapshot()
        names = (
            "decisions", "spend_usd", "router_spend_usd", "best_target_spend_usd", "savings_usd",
            "by_source", "by_target", "targets",
        )  # fmt: skip
        return {name: shown[name] for name in names}

    def _tally(self, task: str, target: str) -> TaskTargetTotals:
        tally = self.tallies.get((task, target))
        if tally is None:
            tally = self.tallies[task, target] = TaskTargetTotals()
        return tally


COUNTERS = ("by_source", "by_target", "cache", "router", "by_key", "decision_ms", "errors")
TALLIED = frozenset(part.name for part in fields(TaskTargetTotals))
COMPARED = tuple(part.name for part in fields(Compared) if part.name != "outcomes")


def bucket(ms: float) -> int:
    """The number of the bucket that counts a time: eight a doubling, from a microsecond on."""
    return round(math.log2(max(ms, 0.001)) * PER_DOUBLING)


def quantile(counted: Counter[int], share: float) -> float | None:
    """The time (ms) below which a share of the counted times lies, or None without any."""
    total = counted.total()
    seen = 0
    for number in sorted(counted):
        seen += counted[number]
        if seen > 0 and seen >= share * total:
            return float(2.0 ** (number / PER_DOUBLING))
    return None
