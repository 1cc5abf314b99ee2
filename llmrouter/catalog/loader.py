"""Loads a prompts directory into one Catalog, or refuses it with every problem at once.

Nothing is served from half a directory: files are read, checked one by one, then held against each
other, and only a whole catalog comes out. Reading takes milliseconds of CPU; a service calls `load`
in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmrouter.catalog.edit_policy import EditPolicy, Use, policy_uses, target_uses
from llmrouter.catalog.file_reader import (
    router_problems,
    routing_file,
    target_file,
    verifier_problems,
)
from llmrouter.catalog.frontmatter import unified
from llmrouter.catalog.lint import Located, Routing, lacks_key, lint, unset
from llmrouter.catalog.revision import policy_revision, prompt_revision, target_revision
from llmrouter.catalog.routing_config import Policy
from llmrouter.catalog.yaml_reader import MAX_CHARS
from llmrouter.domain.catalog import Catalog, Prompts, RouterLLM
from llmrouter.domain.target import AUTH, Target
from llmrouter.errors import CatalogInvalid, Problem

ROUTING = "routing.yaml"
ROUTER = "router.md"
VERIFIER = "verifier.md"
TARGETS = "catalog"
EMBEDDED = "embedded"
"""The provider of targets that `llmrouter run` serves itself."""
EMBEDDED_TIMEOUT_MS = 30_000.0  # the first questions about targets are read anew by two slow cores
_MAX_TARGETS = 500
MAX_BYTES = 4 * MAX_CHARS
"""Of one file."""
NO_KEY = "its API key is not set"
Edits = Mapping[str, str | None]
"""Paths inside the directory (`catalog/small.md`) and the text each is given; None: it is gone."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Where targets, router LLM, judge and encoder are reached instead, for the demo and tests.

    A `base_url` takes the keys with it: no provider's key goes to another address, `api_key_env`
    (None: no key) is used instead. `embedded` maps the models of `llmrouter run` to their base
    URLs: targets that name one are enabled and reached there, and the first one is the router LLM
    where the configured one has no key.
    """

    base_url: str | None = None
    api_key_env: str | None = None
    embedded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A catalog with what its author should look at; `warnings` do not keep it from serving."""

    catalog: Catalog
    warnings: tuple[Problem, ...]


def load(
    directory: Path,
    overrides: Overrides | None = None,
    edits: Edits | None = None,
    allowed: EditPolicy | None = None,
) -> Catalog:
    """The catalog in `directory`. Raises CatalogInvalid with all problems, in file order.

    `edits` stand in for, are added to, or take away from what is on disk. `allowed` bounds what
    they may use; None: it is the operator who edits.
    """
    return load_all(directory, overrides, edits, allowed=allowed).catalog


def load_all(
    directory: Path,
    overrides: Overrides | None = None,
    edits: Edits | None = None,
    environ: Mapping[str, str] = os.environ,
    allowed: EditPolicy | None = None,
) -> Loaded:
    """As `load`, with all warnings; `environ` says which variables of keys are set.

    The catalog itself carries those that name no variable, without the directory's own path, as
    callers may read them.
    """
    read = _read_all(directory, edits or {})
    policy, problems = read.policy, read.problems
    if not read.texts and problems:
        raise CatalogInvalid(tuple(problems))
    prompts = _prompts(directory, read.texts, policy, problems)
    if allowed is not None and edits:
        edited = {path: uses for path, uses in read.uses().items() if path in edits}
        on_disk = _read_all(directory, {}).uses()
        problems += allowed.problems(edited, on_disk, read.texts, directory)
    if problems or policy is None:
        raise CatalogInvalid(tuple(sorted(problems, key=lambda p: (p.file, p.line))))
    targets, located = read.targets, read.located
    catalog = _assembled(targets, policy, prompts)
    if overrides is not None and overrides.embedded:
        catalog = _with_embedded(catalog, overrides.embedded, environ)
    elif overrides is not None:
        catalog = _overridden(catalog, overrides)
    routing = Routing(str(directory / ROUTING), policy.lines)
    odd = lint(catalog, located, routing)
    shown = tuple(str(warning.inside(directory)) for warning in odd)
    catalog = replace(catalog, warnings=shown)
    return Loaded(catalog, (*odd, *unset(catalog, located, routing, environ)))


@dataclass(frozen=True, slots=True)
class _Read:
    """A directory file by file, before its prompts are looked at."""

    texts: dict[str, str]
    problems: list[Problem]
    targets: dict[str, Target]
    located: dict[str, Located]
    policy: Policy | None

    def uses(self) -> dict[str, tuple[Use, ...]]:
        """What each file that can be read uses."""
        found = {f"{TARGETS}/{name}.md": target_uses(one) for name, one in self.targets.items()}
        if self.policy is not None:
            found[ROUTING] = policy_uses(self.policy)
        return found


def _read_all(directory: Path, edits: Edits) -> _Read:
    texts, problems = read_directory(directory, edits)
    if not texts and problems:
        return _Read(texts, problems, {}, {}, None)
    located: dict[str, Located] = {}
    targets: dict[str, Target] = {}
    known: dict[str, bool] = {}
    for path, text in texts.items():
        if not path.startswith(f"{TARGETS}/"):
            continue
        name = path.removeprefix(f"{TARGETS}/").removesuffix(".md")
        file = str(directory / path)
        read = target_file(file, name, text)
        problems += read.problems
        known[name] = True
        if (target := read.target) is not None:
            targets[name] = target
            known[name] = target.enabled
            located[name] = Located(file, read.body_line)
            problems += _taken(target, file, targets)
    problems += _no_targets(directory, known, targets)
    policy = _policy(directory, texts, known, problems)
    return _Read(texts, problems, targets, located, policy)


def with_keys(catalog: Catalog, environ: Mapping[str, str]) -> Catalog:
    """The catalog in which targets are unusable whose key's variable is not set in `environ`.

    The reason names no variable, because callers read it. A router LLM without its key is not
    asked at all.
    """
    targets = {
        name: replace(target, unusable=NO_KEY if lacks_key(target, environ) else None)
        for name, target in catalog.targets.items()
    }
    router = catalog.router
    if router is not None and lacks_key(router, environ):
        router = None
    return replace(catalog, targets=targets, router=router)


def catalog_paths(directory: Path) -> list[str]:
    """The files that make up a catalog, by their paths inside the directory."""
    paths = [name for name in (ROUTER, ROUTING, VERIFIER) if (directory / name).is_file()]
    folder = directory / TARGETS
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return paths + [f"{TARGETS}/{entry.name}" for entry in entries if _is_entry(entry)]


def read_directory(directory: Path, edits: Edits) -> tuple[dict[str, str], list[Problem]]:
    """Every file that makes up a catalog, by its path inside the directory, with `edits` applied.

    Files that editors leave behind (`.x.md.swp`, `#x.md#`, `x.md~`) are passed over.
    """
    where = str(directory)
    if not directory.is_dir() and (directory.exists() or not edits):
        found = "is not a directory" if directory.exists() else "does not exist"
        example = "create it, or name another with --prompts or LLMROUTER_PROMPTS"
        return {}, [Problem(where, 1, f"the prompts directory {found}: {example}")]
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for path in sorted({*catalog_paths(directory), *edits}):
        try:
            text = edits[path] if path in edits else _read(directory / path)
            if text is not None:
                texts[path] = unified(text)
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            problems.append(Problem(str(directory / path), line, "not UTF-8: save it as UTF-8"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            problems.append(Problem(str(directory / path), 1, f"cannot be read: {reason}"))
    if not texts and not problems:
        problems.append(
            Problem(where, 1, f"the prompts directory is empty: it needs {ROUTING} and {TARGETS}/")
        )
    return texts, problems


def _is_entry(path: Path) -> bool:
    return path.suffix == ".md" and not path.name.startswith((".", "#")) and path.is_file()


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is over {MAX_BYTES // 1024} KB")
    return data.decode()


def _taken(target: Target, file: str, others: Mapping[str, Target]) -> list[Problem]:
    """Names of `target` that are an alias, or its alias the id, of a target read before it."""
    own = {target.id, *target.aliases}
    return [
        Problem(file, 1, f"`aliases`: {name!r} is a name of {other.id!r} too")
        for other in others.values()
        if other is not target
        for name in sorted(own & {other.id, *other.aliases})
    ]


def _no_targets(
    directory: Path, known: Mapping[str, bool], targets: Mapping[str, Target]
) -> list[Problem]:
    folder = str(directory / TARGETS)
    if not known:
        return [Problem(folder, 1, f"there is no target: add {TARGETS}/<id>.md, one file a model")]
    if len(known) > _MAX_TARGETS:
        return [Problem(folder, 1, f"{len(known)} targets are more than {_MAX_TARGETS}")]
    if len(targets) == len(known) and not any(target.enabled for target in targets.values()):
        return [Problem(folder, 1, "every target is disabled: set `enabled: true` in one of them")]
    return []


def _policy(
    directory: Path, texts: Mapping[str, str], known: Mapping[str, bool], problems: list[Problem]
) -> Policy | None:
    file = str(directory / ROUTING)
    if ROUTING in texts:
        policy, found = routing_file(file, texts[ROUTING], known)
        problems += found
        return policy
    if not any(problem.file == file for problem in problems):
        example = f"default: {next(iter(known), 'my-model')}"
        message = f"the file is missing: create it with at least `{example}`"
        problems.append(Problem(file, 1, message))
    return None


def _prompts(
    directory: Path, texts: Mapping[str, str], policy: Policy | None, problems: list[Problem]
) -> Prompts:
    router, verifier = texts.get(ROUTER), texts.get(VERIFIER)
    if router is not None:
        problems += router_problems(str(directory / ROUTER), router)
    elif policy is not None and policy.router is not None:
        file = str(directory / ROUTER)
        if not any(problem.file == file for problem in problems):
            message = (
                f"the file is missing, and {ROUTING} configures a router LLM: it is its prompt"
            )
            problems.append(Problem(file, 1, message))
    if verifier is not None:
        problems += verifier_problems(str(directory / VERIFIER), verifier)
    return Prompts(router or "", verifier or "")


def _assembled(targets: Mapping[str, Target], policy: Policy, prompts: Prompts) -> Catalog:
    ordered = {name: targets[name] for name in sorted(targets)}
    return Catalog(
        targets=ordered,
        default=policy.default,
        prompts=prompts,
        router=policy.router,
        quality=policy.quality,
        rules=policy.rules,
        cascade=policy.cascade,
        learned=policy.learned,
        sessions=policy.sessions,
        fallback=policy.fallback,
        version=target_revision(ordered.values()),
        policy_version=policy_revision(policy),
        prompt_version=prompt_revision(prompts.router),
    )


def _overridden(catalog: Catalog, overrides: Overrides) -> Catalog:
    """The catalog reached elsewhere. What is decided, and so every version, stays the same."""

    def moved(llm: RouterLLM | None) -> RouterLLM | None:
        if llm is None:
            return None
        url = overrides.base_url or llm.base_url
        return replace(llm, base_url=url.rstrip("/"), api_key_env=overrides.api_key_env)

    targets = {
        name: replace(
            target,
            base_url=(overrides.base_url or target.base_url).rstrip("/"),
            api_key_env=overrides.api_key_env,
            auth=AUTH[0],
            access=replace(target.access, endpoints=(), api_key_file=None, proxy=None, ca=None),
        )
        for name, target in catalog.targets.items()
    }
    cascade = replace(catalog.cascade, judge=moved(catalog.cascade.judge))
    learned = replace(
        catalog.learned, encoder_url=overrides.base_url, api_key_env=overrides.api_key_env
    )
    return replace(
        catalog, targets=targets, router=moved(catalog.router), cascade=cascade, learned=learned
    )


def _with_embedded(
    catalog: Catalog, embedded: Mapping[str, str], environ: Mapping[str, str]
) -> Catalog:
    """The catalog with the targets of the running embedded models."""
    targets = {
        name: replace(target, base_url=embedded[target.model], enabled=True)
        if target.provider == EMBEDDED and target.model in embedded
        else target
        for name, target in catalog.targets.items()
    }
    router = catalog.router
    if router is not None and router.api_key_env and not environ.get(router.api_key_env):
        model, base_url = next(iter(embedded.items()))
        router = RouterLLM(
            model, base_url, timeout_ms=EMBEDDED_TIMEOUT_MS, retries=0, provider=EMBEDDED
        )
    return replace(catalog, targets=targets, router=router)
