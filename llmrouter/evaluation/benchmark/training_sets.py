"""Groups training files that grade the same targets, and picks the group for a test set.

Files that grade the same targets are fitted together (two halves of one journal, two sets of one
pair). Files with different targets gain nothing from a common fit and lose a little. Two files form
one group when they share at least half of their targets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from llmrouter.evaluation.benchmark.dataset import Dataset, Row

SHARED = 0.5
"""The share of their joint targets that two files must have in common to be one family."""


@dataclass(frozen=True)
class Family:
    """Files fitted together. `rows` are their graded rows, in file order."""

    names: tuple[str, ...]
    rows: tuple[Row, ...]

    @cached_property
    def graded(self) -> Counter[str]:
        """How many rows grade each target."""
        return Counter(target for row in self.rows for target in row.outcomes)

    @cached_property
    def tasks(self) -> frozenset[str]:
        """The tasks its rows name."""
        return frozenset(row.task for row in self.rows if row.task)

    def without(self, prompts: Collection[str]) -> Family:
        """The family less the rows of these prompts."""
        kept = tuple(row for row in self.rows if row.prompt not in prompts)
        return self if len(kept) == len(self.rows) else Family(self.names, kept)


def families(sets: Sequence[Dataset]) -> tuple[Family, ...]:
    """The families of `sets`, in order of first appearance; a set without outcomes has none."""
    groups: list[tuple[set[str], list[Dataset]]] = []
    for one in sets:
        targets = set(one.targets)
        if not targets:
            continue
        near = [group for group in groups if _alike(group[0], targets)]
        if not near:
            groups.append((targets, [one]))
            continue
        home = max(near, key=lambda group: len(group[0] & targets))
        home[0].update(targets)
        home[1].append(one)
    return tuple(
        Family(tuple(one.name for one in group), tuple(r for one in group for r in one.graded))
        for _, group in groups
    )


def _alike(left: set[str], right: set[str]) -> bool:
    return len(left & right) >= SHARED * len(left | right)


def answering(found: Sequence[Family], targets: Sequence[str]) -> dict[str, tuple[Family, ...]]:
    """For each target the families that grade it, the most fitting first.

    The family that covers most of `targets` comes first, then the one that grades the target most
    often. A target that no family grades has none.
    """

    def fit(family: Family, target: str) -> tuple[int, int]:
        covered = sum(1 for one in targets if one in family.graded)
        return covered, family.graded[target]

    return {
        target: tuple(
            sorted(
                (family for family in found if family.graded[target]),
                key=lambda family: fit(family, target),
                reverse=True,
            )
        )
        for target in targets
    }


def used(found: Sequence[Family], targets: Sequence[str], *, alone: bool) -> list[Family]:
    """The families that answer for any of `targets`.

    With `alone`, one that grades them all answers alone: the test set says which targets it is
    about. Without, every family may know some of the rows.
    """
    order = answering(found, targets)
    best = next((families[0] for families in order.values() if families), None)
    if alone and best is not None and all(best.graded[target] for target in targets):
        return [best]
    return list({id(f): f for families in order.values() for f in families}.values())
