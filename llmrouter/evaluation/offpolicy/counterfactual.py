"""What other policies would have scored and cost on recorded traffic.

Each policy chooses anew for the recorded requests, among the targets that were eligible then. It is
scored by the answers that came, by exploration, from the target that it would have chosen (see
`evaluation.offpolicy.estimators`). The router LLM is not asked again, so it is no policy here. A
policy that reads words is not scored on requests recorded without them; the number of rows behind
each estimate is reported.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.interfaces import Preferences
from llmrouter.evaluation.catalog_diff.replay import Blind
from llmrouter.evaluation.offpolicy.estimators import Floats, Judged, Logged, judge, means
from llmrouter.evaluation.offpolicy.logged import Record, Row
from llmrouter.evaluation.recorded import RecordedRequest
from llmrouter.routing.stages.default import Default
from llmrouter.routing.stages.rules import Rules

LOGGED, LEARNED, RULES, ALWAYS = "logged", "learned", "rules", "always-"
FOLDS = 5

Step = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Policies:
    """What is judged: names, the catalog, the learned model if there is one, the trade-off.

    `quality` 0..1 is the learned model's; None takes each request's own, or the catalog's.
    """

    names: tuple[str, ...]
    catalog: Catalog
    preferences: Preferences | None = None
    quality: float | None = None

    async def choice(self, name: str, context: RoutingContext, told: bool) -> str | None:
        """The target a policy takes; None where it cannot say. `told`: the text was recorded."""
        if name == LEARNED:
            proposal = self.preferences.propose(context) if self.preferences and told else None
            return None if proposal is None else proposal.target
        if name == RULES:
            verdict = await (Rules() if told else Blind()).decide(context)
            if verdict is not None and verdict.target in context.eligible:
                return verdict.target
        elif (target := name.removeprefix(ALWAYS)) in context.eligible:
            return target
        return (await Default().decide(context)).target


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """One policy: its mean reward (0..1) on `graded` rows, its mean cost in USD on `rows`."""

    policy: str
    rows: int
    graded: int
    quality: Judged
    cost: Judged


def names_of(asked: Sequence[str], catalog: Catalog) -> tuple[str, ...]:
    """The policies asked for; `all` is every one there is. Raises `ValueError` for another."""
    every = (LEARNED, RULES, *(f"{ALWAYS}{target.id}" for target in catalog.enabled))
    names = dict.fromkeys(one for name in asked for one in (every if name == "all" else (name,)))
    for name in names:
        if name not in every:
            raise ValueError(f"no policy {name!r}; there are: {', '.join(('all', *every))}")
    return tuple(names)


async def choices(
    record: Record, pasts: Mapping[str, RecordedRequest], policies: Policies, step: Step
) -> dict[str, list[str | None]]:
    """For each policy its choice on each row, None where it has none."""
    out: dict[str, list[str | None]] = {name: [] for name in policies.names}
    for number, row in enumerate(record.rows, start=1):
        past = pasts.get(row.name)
        context = None if past is None else _question(row, past, policies)
        for name, chosen in out.items():
            told = past is not None and past.text is not None
            target = None if context is None else await policies.choice(name, context, told)
            chosen.append(target)
        step(number, len(record.rows))
    return out


def _question(row: Row, past: RecordedRequest, policies: Policies) -> RoutingContext | None:
    catalog, options = policies.catalog, past.request.options
    eligible = tuple(name for name in row.eligible if name in catalog.targets)
    if not eligible:
        return None
    wish = next(q for q in (policies.quality, options.quality, catalog.quality) if q is not None)
    return RoutingContext(
        past.request, past.features, catalog, eligible, caller=past.caller, quality=wish
    )


def lines(
    record: Record, chosen: Mapping[str, Sequence[str | None]], clip: float = math.inf
) -> list[PolicyLine]:
    """What was logged, then each policy."""
    served = [row.target for row in record.rows]
    own = [replace(row, propensity=1.0) for row in record.rows]
    return [
        _line(LOGGED, own, served, math.inf),
        *(_line(name, record.rows, targets, clip) for name, targets in chosen.items()),
    ]


def _line(name: str, rows: Sequence[Row], targets: Sequence[str | None], clip: float) -> PolicyLine:
    pairs = [(row, at) for row, at in zip(rows, targets, strict=True) if at is not None]
    graded = [(row, at) for row, at in pairs if row.reward is not None]
    quality = _judged(graded, [row.reward or 0.0 for row, _ in graded], clip, (0.0, 1.0))
    cost = _judged(pairs, [row.cost_usd for row, _ in pairs], clip)
    return PolicyLine(name, len(pairs), len(graded), quality, cost)


def _judged(
    pairs: Sequence[tuple[Row, str]],
    reward: Sequence[float],
    clip: float,
    bounds: tuple[float, float] | None = None,
) -> Judged:
    rows = [row for row, _ in pairs]
    names = sorted({name for row, at in pairs for name in (row.target, at)})
    column = {name: number for number, name in enumerate(names)}
    wanted: Floats = np.zeros((len(rows), len(names)))
    wanted[np.arange(len(rows)), np.array([column[at] for _, at in pairs], np.int64)] = 1.0
    logged = Logged(
        np.array([column[row.target] for row in rows], np.int64),
        np.array([row.propensity for row in rows], np.float64),
        np.array(reward, np.float64),
        _numbered([row.fingerprint for row in rows]),
    )
    fold = np.array([zlib.crc32(row.fingerprint.encode()) % FOLDS for row in rows], np.int64)
    model = means(logged, _numbered([row.task for row in rows]), fold, len(names))
    return judge(logged, wanted, model, clip, bounds)


def _numbered(names: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    number = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], np.int64)
