"""What `llmrouter init` writes: the shipped prompts, limited to the targets that could serve."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from llmrouter.catalog.loader import ROUTING, TARGETS, load
from llmrouter.domain.catalog import Catalog, RouterLLM
from llmrouter.domain.target import Target
from llmrouter.errors import LLMRouterError
from llmrouter.shipped import shipped_prompts

Reachable = Callable[[str], bool]
"""Whether a server listens at a base URL."""


class NoKeys(LLMRouterError):
    """Nothing in the shipped catalog could serve; the message lists the variables of keys."""


@dataclass(frozen=True, slots=True)
class Starter:
    """What `init` writes: texts by path inside the directory, and who is in and who is out.

    `kept` are targets' ids, `left_out` maps an id to the reason.
    """

    files: Mapping[str, str]
    kept: tuple[str, ...]
    left_out: Mapping[str, str]


def starter(environ: Mapping[str, str], reachable: Reachable, everything: bool = False) -> Starter:
    """The shipped prompts, limited to the targets that could serve with these variables.

    A target without a key is kept where its server answers. Raises NoKeys when nothing is left;
    `everything` keeps all of them.
    """
    directory = shipped_prompts()
    texts = {
        str(path.relative_to(directory)): path.read_text("utf-8")
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.parts[-3:])
    }
    catalog = load(directory)
    left_out: dict[str, str] = {}
    for target in catalog.targets.values() if not everything else ():
        reason = _unusable(target, environ, reachable)
        if reason is not None:
            left_out[target.id] = reason
    kept = [target for name, target in catalog.targets.items() if name not in left_out]
    if not any(target.enabled for target in kept):
        names = sorted({t.api_key_env for t in catalog.targets.values() if t.api_key_env})
        raise NoKeys(
            f"no key of a provider is set: set one of {', '.join(names)} and try again, "
            "or keep every target with --all"
        )
    for name in left_out:
        del texts[f"{TARGETS}/{name}.md"]
    texts[ROUTING] = _routing(texts[ROUTING], catalog, kept, environ, everything)
    return Starter(texts, tuple(target.id for target in kept), left_out)


def key_variables() -> dict[str, tuple[str, ...]]:
    """The variables of keys that the shipped targets name, each with the providers it is of."""
    found: dict[str, dict[str, None]] = {}
    for target in load(shipped_prompts()).targets.values():
        if target.api_key_env is not None:
            found.setdefault(target.api_key_env, {})[target.provider] = None
    return {name: tuple(providers) for name, providers in sorted(found.items())}


def write(directory: Path, files: Mapping[str, str]) -> None:
    """Write a starter into a directory that is absent or empty. Raises FileExistsError, OSError."""
    if directory.exists() and any(directory.iterdir()):
        raise FileExistsError(f"{directory} is there already and not empty")
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    load(directory)


def _unusable(target: Target, environ: Mapping[str, str], reachable: Reachable) -> str | None:
    if target.api_key_env is not None:
        return None if environ.get(target.api_key_env) else f"{target.api_key_env} is not set"
    if not target.enabled or reachable(target.base_url):
        return None
    return f"nothing listens at {target.base_url}"


def _routing(
    text: str,
    catalog: Catalog,
    kept: list[Target],
    environ: Mapping[str, str],
    everything: bool,
) -> str:
    """routing.yaml with every name of a target that was left out replaced, comments kept."""
    names = {target.id for target in kept if target.enabled}
    cheapest = min((t for t in kept if t.enabled), key=lambda t: (t.price.output, t.id))
    default = catalog.default if catalog.default in names else cheapest.id
    text = re.sub(r"^default: *\S+", f"default: {default}", text, count=1, flags=re.MULTILINE)
    for rule in catalog.rules:
        if rule.route is not None and rule.route not in names:
            replaced = rf"\g<1>{default}"
            text = re.sub(rf"^(\s+route: *){re.escape(rule.route)}\b", replaced, text, flags=re.M)
    order = [name for name in catalog.cascade.order if name in names]
    if len(order) < 2:
        ranked = sorted((t for t in kept if t.enabled), key=lambda t: (t.price.output, t.id))
        order = [target.id for target in ranked]
    text = re.sub(r"^(\s+order: *)\[[^\]]*\]", rf"\g<1>[{', '.join(order)}]", text, flags=re.M)
    router = catalog.router
    if everything or router is None or router.api_key_env is None:
        return text
    return text if environ.get(router.api_key_env) else _moved(text, router, cheapest)


def _moved(text: str, router: RouterLLM, target: Target) -> str:
    """The router LLM is the cheapest target that is there."""
    block = re.search(r"^router:.*\n(?:[ \t]+.*\n|\n(?=[ \t]))*", text, re.MULTILINE)
    if block is None:
        return text
    price = {"input": target.price.input, "output": target.price.output}
    values = {
        "model": target.model,
        "provider": target.provider,
        "base_url": target.base_url,
        "api_key_env": target.api_key_env,
        "timeout_ms": int(router.timeout_ms),
        "price": price,
    }
    lines = [
        f"  {name}: {yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"
        for name, value in values.items()
        if value is not None
    ]
    return text[: block.start()] + "router:\n" + "\n".join(lines) + "\n" + text[block.end() :]
