"""What an edit over HTTP may have the service read and reach.

Whoever may edit the catalog over HTTP need not be the operator of the machine. So an edit adds no
use of a secret, a file or code of the machine, unless the operator listed it: a variable that holds
a key, the file of a key or of certificates, cloud credentials, a check in Python. A key that the
files on disk use goes on being sent where they send it, and nowhere else. Link-local and metadata
addresses are refused. Files that are edited on disk are the operator's own and are not held to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from llmrouter.catalog.routing_config import Policy
from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.embedding_space import encoder_spec
from llmrouter.domain.patterns import Pattern, compile_pattern
from llmrouter.domain.target import Endpoint, Target
from llmrouter.errors import Problem
from llmrouter.util.addresses import NO_METADATA, AddressPolicy

KEY, KEY_FILE, FILE, CLOUD, CODE, ADDRESS = "key", "key file", "file", "cloud", "code", "address"
_CLOUDS: Final = {
    "aws": (".amazonaws.com", "AWS_SECRET_ACCESS_KEY"),
    "google": (".googleapis.com", "GOOGLE_APPLICATION_CREDENTIALS"),
}
"""Where the credentials of a cloud belong, and the variable that stands for them in settings."""
_PACKAGED_ENCODERS: Final = frozenset({"wordllama", "all-MiniLM-L6-v2"})
_NAME = compile_pattern(r"[A-Za-z0-9_*?]+")


@dataclass(frozen=True, slots=True)
class Use:
    """What a catalog has the service read or reach: `value` of a `kind`, by the key `name` of a
    file. A secret is sent to `place`, an origin such as https://api.openai.com:443."""

    kind: str
    name: str
    value: str
    place: str = ""


Uses = Mapping[str, tuple[Use, ...]]
"""What each file uses, by its path inside the directory."""


@dataclass(frozen=True, slots=True)
class EditPolicy:
    """`keys` are variables (names, or patterns with * and ?) that any address may be given;
    `files` is the folder in which an edit may name files, none without it."""

    keys: tuple[Pattern, ...] = ()
    addresses: AddressPolicy = NO_METADATA
    files: Path | None = None

    def problems(
        self, edited: Uses, on_disk: Uses, texts: Mapping[str, str], directory: Path
    ) -> list[Problem]:
        """What edited files use that they may not. What files on disk use, they may."""
        known = {(use.kind, use.value, use.place) for uses in on_disk.values() for use in uses}
        found = []
        for path, uses in edited.items():
            for use in dict.fromkeys(uses):
                if (use.kind, use.value, use.place) in known:
                    continue
                if (why := self._refusal(use)) is not None:
                    line = _line(texts.get(path, ""), use)
                    found.append(Problem(str(directory / path), line, f"`{use.name}`: {why}"))
        return found

    def _refusal(self, use: Use) -> str | None:
        if use.kind == ADDRESS:
            return self._address(use)
        if use.kind == KEY:
            if self._listed(use.value):
                return None
            return (
                f"an edit over HTTP may not send the key {use.value} to {use.place or 'a server'}: "
                "list the variable in LLMROUTER_CATALOG_KEYS, or edit the file on disk"
            )
        if use.kind == CLOUD:
            domain, variable = _CLOUDS[use.value]
            parts = urlsplit(use.place)
            own = parts.scheme == "https" and f".{parts.hostname}".endswith(domain)
            if own or self._listed(variable):
                return None
            return (
                f"an edit over HTTP may send credentials of `{use.value}` to https://*{domain} "
                f"alone: list {variable} in LLMROUTER_CATALOG_KEYS, or edit the file on disk"
            )
        if use.kind == CODE:
            return "an edit over HTTP may not name code of this machine: edit the file on disk"
        if self.files is not None and _lies_in(use.value, self.files):
            return None
        return (
            "an edit over HTTP may not name a file of this machine: put it into the folder "
            "LLMROUTER_CATALOG_FILES, or edit the file on disk"
        )

    def _listed(self, variable: str) -> bool:
        return any(pattern.fullmatch(variable) for pattern in self.keys)

    def _address(self, use: Use) -> str | None:
        host = urlsplit(use.value).hostname or ""
        why = self.addresses.problem(host)
        if why is None:
            return None
        return (
            f"{host} {why}, which an edit over HTTP may not name: list the host in "
            "LLMROUTER_CATALOG_HOSTS, or edit the file on disk"
        )


def key_patterns(names: Iterable[str]) -> tuple[Pattern, ...]:
    """Patterns of variables' names, `*` and `?` as in a shell. Raises ValueError."""
    found = []
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a variable, and no pattern such as *_API_KEY")
        found.append(compile_pattern(name.replace("*", ".*").replace("?", ".")))
    return tuple(found)


def target_uses(target: Target) -> tuple[Use, ...]:
    """What the file of a target has the service read and reach."""
    return tuple(_target(target))


def policy_uses(policy: Policy) -> tuple[Use, ...]:
    """What routing.yaml has the service read and reach."""
    return tuple(_policy(policy))


def _target(target: Target) -> Iterator[Use]:
    access = target.access
    for place in access.endpoints or (Endpoint(target.base_url, target.api_key_env),):
        yield Use(ADDRESS, "base_url", place.base_url)
        origins = [_origin(place.base_url)]
        if access.proxy is not None and origins[0].startswith("http:"):
            origins.append(_origin(access.proxy))  # which reads what is not encrypted
        for origin in origins:
            if place.api_key_env is not None:
                yield Use(KEY, "api_key_env", place.api_key_env, origin)
            if access.api_key_file is not None:
                yield Use(KEY_FILE, "api_key_file", access.api_key_file, origin)
            if target.auth in _CLOUDS:
                yield Use(CLOUD, "auth", target.auth, origin)
    if access.proxy is not None:
        yield Use(ADDRESS, "proxy", access.proxy)
    if access.ca is not None:
        yield Use(FILE, "ca", access.ca)


def _policy(policy: Policy) -> Iterator[Use]:
    for llm in (policy.router, policy.cascade.judge):
        if llm is not None:
            yield from _llm(llm)
    for check in policy.cascade.accept.checks:
        if (entry := check.get("python")) is not None:
            yield Use(CODE, "python", str(entry))
    learned = policy.learned
    spec = encoder_spec(learned.encoder)
    if spec.base_url:
        yield Use(ADDRESS, "encoder", spec.base_url)
    elif spec.model and spec.model not in _PACKAGED_ENCODERS:
        yield Use(FILE, "encoder", spec.model)
    if learned.api_key_env is not None:
        yield Use(KEY, "api_key_env", learned.api_key_env, _origin(spec.base_url))


def _llm(llm: RouterLLM) -> Iterator[Use]:
    yield Use(ADDRESS, "base_url", llm.base_url)
    if llm.api_key_env is not None:
        yield Use(KEY, "api_key_env", llm.api_key_env, _origin(llm.base_url))


def _lies_in(path: str, folder: Path) -> bool:
    return Path(path).resolve().is_relative_to(folder.resolve())


def _origin(url: str) -> str:
    """Scheme, host and port: who reads what is sent there."""
    parts = urlsplit(url)
    if not parts.hostname:
        return ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _line(text: str, use: Use) -> int:
    """The line on which a file names what it uses."""
    lines = text.splitlines()
    of_key = [number for number, line in enumerate(lines, 1) if use.name in line]
    return next((number for number in of_key if use.value in lines[number - 1]), [*of_key, 1][0])
