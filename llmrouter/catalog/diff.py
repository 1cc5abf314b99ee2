"""What differs between two catalogs, in terms of what their authors wrote. Pure.

It compares values, so an edit of comments or white space is no change. What an edit would do to
requests is another question: that takes recorded requests, and is asked elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

from llmrouter.domain.catalog import Catalog, Rule
from llmrouter.domain.patterns import Pattern

Kind = Literal["added", "removed", "changed"]
_SETTINGS = ("default", "quality", "router", "cascade", "learned", "sessions", "fallback")
_LONG = 60


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    `where` says what it belongs to: `target small`, `rule sums`, `rules`, `settings` or `prompts`.
    `field` is a dotted path in it, "" for the whole; `before` and `after` are None where there was
    or is nothing. Names of variables that hold keys appear as they stand; keys cannot.
    """

    kind: Kind
    where: str
    field: str = ""
    before: object = None
    after: object = None

    def __str__(self) -> str:
        if not self.field:
            return f"{self.where} {self.kind}"
        if self.before is None:
            return f"{self.where}: {self.field} set to {_shown(self.after)}"
        if self.after is None:
            return f"{self.where}: {self.field} removed (it was {_shown(self.before)})"
        if _is_long(self.before, self.after):
            return f"{self.where}: {self.field} rewritten"
        return f"{self.where}: {self.field} {_shown(self.before)} → {_shown(self.after)}"

    def public(self) -> dict[str, object]:
        """As shown to other programs, with its line."""
        shown = {part.name: getattr(self, part.name) for part in fields(self)}
        return {**shown, "text": str(self)}


def changes(old: Catalog, new: Catalog) -> tuple[Change, ...]:
    """Every difference: targets by id, then rules in order, settings, prompts."""
    return (
        *_targets(old, new),
        *_rules(old.rules, new.rules),
        *(
            change
            for name in _SETTINGS
            for change in _between("settings", name, getattr(old, name), getattr(new, name))
        ),
        *_between("prompts", "router.md", old.prompts.router, new.prompts.router),
        *_between("prompts", "verifier.md", old.prompts.verifier, new.prompts.verifier),
    )


def _targets(old: Catalog, new: Catalog) -> Iterator[Change]:
    for name in sorted(old.targets.keys() | new.targets.keys()):
        before, after = old.targets.get(name), new.targets.get(name)
        if before is None:
            yield Change("added", f"target {name}")
        elif after is None:
            yield Change("removed", f"target {name}")
        else:
            yield from _between(f"target {name}", "", before, after)


def _rules(old: tuple[Rule, ...], new: tuple[Rule, ...]) -> Iterator[Change]:
    before = {rule.name: rule for rule in old}
    after = {rule.name: rule for rule in new}
    for name, rule in after.items():
        if name not in before:
            yield Change("added", f"rule {name}")
        else:
            yield from _between(f"rule {name}", "", before[name], rule)
    for name in before:
        if name not in after:
            yield Change("removed", f"rule {name}")
    order = tuple(name for name in before if name in after)
    now = tuple(name for name in after if name in before)
    if order != now:
        yield Change("changed", "rules", "order", order, now)


def _between(where: str, path: str, before: Any, after: Any) -> Iterator[Change]:
    """The differing leaves of two values."""
    before, after = _leaf(before), _leaf(after)
    if before == after:
        return
    if is_dataclass(before) and type(before) is type(after):
        for part in fields(before):
            name = f"{path}.{part.name}" if path else part.name
            yield from _between(where, name, getattr(before, part.name), getattr(after, part.name))
        return
    yield Change("changed", where, path, before, after)


def _leaf(value: Any) -> Any:
    """Sets in order, patterns as their text; everything else as it is."""
    if isinstance(value, Pattern):
        return value.pattern
    if isinstance(value, frozenset):
        return tuple(sorted(value))
    return value


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_shown(inner)}" for key, inner in value.items()) + "}"
    if is_dataclass(value):
        model = getattr(value, "model", None)
        return str(model) if model is not None else type(value).__name__.lower()
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"


def _is_long(*values: object) -> bool:
    return any(isinstance(value, str) and (len(value) > _LONG or "\n" in value) for value in values)
