"""What is valid and still probably not meant. Pure; each finding is a warning, never a refusal."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from llmrouter.domain.catalog import Catalog, Conditions, RouterLLM, Rule
from llmrouter.domain.features import TASKS
from llmrouter.domain.target import Target
from llmrouter.errors import Problem
from llmrouter.util.addresses import NO_METADATA

SHORT_DESCRIPTION: Final = 60
LONG_DESCRIPTION: Final = 1500
_LEAST = ("min_words", "min_turns")
_MOST = ("max_words", "max_turns")
_SETS = ("task", "language", "tier", "side_task")
_SAME = ("code", "tools")


@dataclass(frozen=True, slots=True)
class Located:
    """Where a target stands: its file, and the line on which its description begins."""

    file: str
    body_line: int


@dataclass(frozen=True, slots=True)
class Routing:
    """Where routing.yaml is; `lines` says where `router`, `cascade` and each rule's name stand."""

    file: str
    lines: Mapping[str, int]


def lint(
    catalog: Catalog,
    located: Mapping[str, Located],
    routing: Routing,
) -> tuple[Problem, ...]:
    """Every warning that the files alone give rise to, targets first."""
    found = [*_targets(catalog, located)]
    for at, message in _policy(catalog):
        found.append(Problem(routing.file, routing.lines.get(at, 1), message))
    return tuple(found)


def unset(
    catalog: Catalog,
    located: Mapping[str, Located],
    routing: Routing,
    environ: Mapping[str, str],
) -> tuple[Problem, ...]:
    """Where a key is named whose variable is not set in `environ`.

    These stay apart: they name variables, which is the operator's business alone.
    """
    found = []
    for target in catalog.enabled:
        if lacks_key(target, environ):
            said = f"the variable {target.api_key_env} is not set: calls go out without a key"
            found.append(Problem(located[target.id].file, 1, said))
    for at, llm in (("router", catalog.router), ("cascade", catalog.cascade.judge)):
        if llm is not None and lacks_key(llm, environ):
            what = "router" if at == "router" else "cascade.judge"
            said = f"{what}: the variable {llm.api_key_env} is not set"
            found.append(Problem(routing.file, routing.lines.get(at, 1), said))
    return tuple(found)


def _targets(catalog: Catalog, located: Mapping[str, Located]) -> Iterator[Problem]:
    twins: dict[tuple[str, str], str] = {}
    for target in catalog.enabled:
        place = located[target.id]
        length = len(target.description)
        if length < SHORT_DESCRIPTION:
            yield Problem(
                place.file,
                place.body_line,
                f"the description has {length} characters, too few to choose by: say what the "
                "model is good and bad at, and when to choose it",
            )
        if length > LONG_DESCRIPTION:
            yield Problem(
                place.file,
                place.body_line,
                f"the description has {length} characters; every router call carries them, keep "
                f"it under {LONG_DESCRIPTION}",
            )
        for message in _target(target):
            yield Problem(place.file, 1, message)
        twin = twins.setdefault((target.model, target.base_url), target.id)
        if twin != target.id and target.base_url:
            message = f"this is the same model at the same address as {twin}: disable one"
            yield Problem(place.file, 1, message)


def _target(target: Target) -> Iterator[str]:
    local = _is_local(target.base_url)
    if not local and target.price.input == 0 and target.price.output == 0:
        yield "the price is 0, though the model is not local: routing would always prefer it"
    host = urlsplit(target.base_url).hostname or ""
    if (why := NO_METADATA.problem(host, lookup_s=0.0)) is not None:
        yield f"{host} {why}: what answers there may hold this machine's own credentials"
    cached = target.price.cached_input
    if cached is not None and cached > target.price.input:
        yield "cached_input costs more than input: are they swapped?"


def _policy(catalog: Catalog) -> Iterator[tuple[str, str]]:
    off = {name for name, target in catalog.targets.items() if not target.enabled}
    for name in catalog.cascade.order:
        if name in off:
            yield "cascade", f"cascade.order: {name} is disabled and will be passed over"
    for number, rule in enumerate(catalog.rules):
        at = f"rule {rule.name}"
        if rule.route in off:
            yield at, f"rule {rule.name!r} routes to {rule.route}, which is disabled"
        for task in sorted(rule.when.task or ()):
            near = difflib.get_close_matches(task.lower(), TASKS, n=1, cutoff=0.75)
            if task not in TASKS and near:
                said = f"task {task!r} only matches where a caller declares it"
                yield at, f"rule {rule.name!r}: {said}; did you mean {near[0]!r}?"
        earlier = next((e for e in catalog.rules[:number] if _shadows(e, rule)), None)
        if earlier is not None:
            said = f"can never match: {earlier.name!r} above it matches first"
            yield at, f"rule {rule.name!r} {said}"


def lacks_key(model: Target | RouterLLM, environ: Mapping[str, str]) -> bool:
    """Whether a model needs a key whose variable is not set, or empty."""
    if isinstance(model, Target) and (places := model.access.endpoints):
        return not any(p.api_key_env is None or environ.get(p.api_key_env) for p in places)
    return model.api_key_env is not None and not environ.get(model.api_key_env)


def _shadows(earlier: Rule, later: Rule) -> bool:
    """Whether every request that the later rule matches is matched by the earlier one."""
    return _implies(later.when, earlier.when)


def _implies(narrow: Conditions, wide: Conditions) -> bool:
    for name in _LEAST:
        least, at = getattr(wide, name), getattr(narrow, name)
        if least is not None and least > 0 and (at is None or at < least):
            return False
    for name in _MOST:
        most, at = getattr(wide, name), getattr(narrow, name)
        if most is not None and (at is None or at > most):
            return False
    for name in _SETS:
        allowed, given = getattr(wide, name), getattr(narrow, name)
        if allowed is not None and (given is None or not given <= allowed):
            return False
    for name in _SAME:
        if getattr(wide, name) is not None and getattr(wide, name) != getattr(narrow, name):
            return False
    if wide.matches is None:
        return True
    return narrow.matches is not None and narrow.matches.pattern == wide.matches.pattern


def _is_local(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal"))
    return address.is_private or address.is_loopback
