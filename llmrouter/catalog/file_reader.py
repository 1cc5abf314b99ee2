"""What each file of a catalog says, read once for the same text.

An edit changes one file of dozens, and a check follows every keystroke: parsing the others again
would take ten times as long. All of it is a function of the texts alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from llmrouter.catalog.frontmatter import split
from llmrouter.catalog.routing_config import Policy, read_policy
from llmrouter.catalog.target_file import read_target
from llmrouter.catalog.template_checks import check_router, check_verifier
from llmrouter.catalog.yaml_reader import Sheet
from llmrouter.domain.target import Target
from llmrouter.errors import CatalogInvalid, Problem


@dataclass(frozen=True, slots=True)
class TargetRead:
    """A target's file; `target` is None where there are problems. The body is its description."""

    target: Target | None
    body_line: int
    problems: tuple[Problem, ...]


@lru_cache(maxsize=1024)
def target_file(file: str, name: str, text: str) -> TargetRead:
    """The target `name` in the text of `file`, or what is wrong."""
    sheet = Sheet(file)
    try:
        parts = split(file, text)
    except CatalogInvalid as invalid:
        return TargetRead(None, 1, tuple(invalid.problems))
    sheet.first_line = parts.front_line
    target = read_target(sheet, name, parts)
    return TargetRead(target, parts.body_line, tuple(sheet.problems))


def routing_file(
    file: str, text: str, targets: Mapping[str, bool]
) -> tuple[Policy | None, tuple[Problem, ...]]:
    """The policy in the text of routing.yaml, or what is wrong; `targets` as in `read_policy`."""
    return _routing_file(file, text, tuple(targets.items()))


@lru_cache(maxsize=8)
def _routing_file(
    file: str, text: str, targets: tuple[tuple[str, bool], ...]
) -> tuple[Policy | None, tuple[Problem, ...]]:
    sheet = Sheet(file)
    policy = read_policy(sheet, text, dict(targets))
    return policy, tuple(sheet.problems)


@lru_cache(maxsize=8)
def router_problems(file: str, text: str) -> tuple[Problem, ...]:
    """What is wrong with router.md."""
    return tuple(check_router(file, text))


@lru_cache(maxsize=8)
def verifier_problems(file: str, text: str) -> tuple[Problem, ...]:
    """What is wrong with verifier.md."""
    return tuple(check_verifier(file, text))
