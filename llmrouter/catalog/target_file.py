"""Turns a catalog file into a Target, or says precisely why it cannot.

Strict on purpose: a misspelt key that is ignored is a limit that does not hold. What names an
environment variable is never echoed, because people paste keys there.
"""

from __future__ import annotations

from typing import Final

from llmrouter.catalog.access_fields import (
    ACCESS_KEYS,
    read_access,
    read_aliases,
    read_base_url,
    read_key_name,
)
from llmrouter.catalog.frontmatter import Parts
from llmrouter.catalog.yaml_reader import Block, Sheet, hint, shown
from llmrouter.domain.patterns import compile_pattern
from llmrouter.domain.target import (
    AUTH,
    CAPABILITIES,
    PROTOCOLS,
    Endpoint,
    Latency,
    Price,
    Target,
)

TARGET_KEYS: Final = (
    "model",
    "provider",
    "base_url",
    "api_key_env",
    "price",
    "context_window",
    "max_output",
    "capabilities",
    "tiers",
    "latency",
    "timeout_s",
    "protocol",
    "auth",
    "aliases",
    *ACCESS_KEYS,
    "ttft_timeout_s",
    "stall_timeout_s",
    "enabled",
)
RESERVED_IDS: Final = frozenset({"auto"})
_PART = compile_pattern(r"part:[\w.-]{1,40}")
_ID = compile_pattern(r"[a-z0-9][a-z0-9._-]*")
_TIER = compile_pattern(r"[A-Za-z0-9][\w.-]*")
_MAX_DESCRIPTION = 8000


def id_problem(name: str) -> str | None:
    """Why a file's stem cannot be a target's id, or None."""
    if name in RESERVED_IDS:
        return f"`{name}` is reserved (it asks for routing): rename the file"
    if len(name) > 80 or not _ID.fullmatch(name):
        return (
            f"the file's name is the target's id, and {shown(name)!r} is none: use lower-case "
            "letters, digits, dots, hyphens and underscores"
        )
    return None


def read_target(sheet: Sheet, name: str, parts: Parts) -> Target | None:
    """The target in a catalog file whose stem is `name`; None after at least one report."""
    before = len(sheet.problems)
    if (wrong := id_problem(name)) is not None:
        sheet.report(1, wrong)
    description = _description(sheet, parts)
    node = sheet.compose(parts.front)
    if node is None:
        return None
    fields = Block(sheet, node, TARGET_KEYS)
    model = fields.text("model", required=True)
    provider = fields.text("provider", required=True)
    base_url = read_base_url(fields)
    price = read_price(fields, required=True)
    window = fields.whole("context_window", 1, required=True)
    key = read_key_name(fields)
    most = fields.whole("max_output", 1)
    if most is not None and window is not None and most > window:
        fields.fail("max_output", f"is {most}, more than the context_window of {window}")
    capabilities = _capabilities(fields)
    tiers = _tiers(fields)
    latency = _latency(fields)
    timeout_s = fields.number("timeout_s", 0, 3600, above=True)
    protocol = _one_of(fields, "protocol", PROTOCOLS)
    auth = _one_of(fields, "auth", AUTH)
    aliases = read_aliases(fields, name)
    access = read_access(fields, Endpoint(base_url or "", key))
    ttft_timeout_s = fields.number("ttft_timeout_s", 0, 3600, above=True)
    stall_timeout_s = fields.number("stall_timeout_s", 0, 3600, above=True)
    enabled = fields.flag("enabled")
    if len(sheet.problems) > before:
        return None
    if model is None or provider is None or base_url is None or price is None or window is None:
        raise AssertionError("a required field that is absent has been reported")
    return Target(
        id=name,
        model=model,
        provider=provider,
        base_url=base_url,
        price=price,
        context_window=window,
        description=description,
        api_key_env=key,
        max_output=most,
        capabilities=capabilities,
        tiers=tiers,
        latency=latency,
        timeout_s=60.0 if timeout_s is None else timeout_s,
        enabled=True if enabled is None else enabled,
        protocol=protocol or PROTOCOLS[0],
        auth=auth or AUTH[0],
        aliases=aliases,
        access=access,
        ttft_timeout_s=ttft_timeout_s,
        stall_timeout_s=30.0 if stall_timeout_s is None else stall_timeout_s,
    )


def read_price(fields: Block, *, required: bool = False) -> Price | None:
    """`price: {input, output, cached_input, cache_write}`, USD per one million tokens."""
    keys = ("input", "cached_input", "cache_write", "output")
    price = fields.block("price", keys, required=required)
    if price is None:
        return None
    given = price.number("input", required=True)
    written = price.number("output", required=True)
    cached, stored = price.number("cached_input"), price.number("cache_write")
    if given is None or written is None:
        return None
    return Price(given, written, cached, stored)


def _description(sheet: Sheet, parts: Parts) -> str:
    text = parts.body.strip()
    if not text:
        sheet.report(
            parts.body_line,
            "there is no description: say below the front matter what the model is good at, what "
            "it is bad at, and when to choose it",
        )
    elif len(text) > _MAX_DESCRIPTION:
        sheet.report(
            parts.body_line,
            f"the description has {len(text)} characters, every router call would carry them; "
            f"keep it under {_MAX_DESCRIPTION}",
        )
    return text


def _one_of(fields: Block, name: str, known: tuple[str, ...]) -> str | None:
    value = fields.text(name)
    if value is not None and value not in known:
        fields.fail(name, f"cannot be `{shown(value)}`{hint(value, list(known))}")
        return None
    return value


def _capabilities(fields: Block) -> frozenset[str]:
    found = set()
    for name, node in fields.texts("capabilities") or ():
        if name not in CAPABILITIES and not _PART.fullmatch(name):
            fields.sheet.report(
                node, f"unknown capability `{shown(name)}`{hint(name, sorted(CAPABILITIES))}"
            )
        found.add(name)
    return frozenset(found)


def _tiers(fields: Block) -> frozenset[str] | None:
    tiers = fields.texts("tiers")
    if tiers is None:
        return None
    for name, node in tiers:
        if not _TIER.fullmatch(name):
            fields.sheet.report(node, f"{shown(name)!r} is no tier: use one word, such as pro")
    if not tiers:
        fields.fail("tiers", "is empty, nobody could use it: leave it out, or set enabled: false")
    return frozenset(name for name, _ in tiers)


def _latency(fields: Block) -> Latency:
    latency = fields.block("latency", ("ttft_ms", "tokens_per_s"))
    if latency is None:
        return Latency()
    first, speed = latency.number("ttft_ms"), latency.number("tokens_per_s", above=True)
    usual = Latency()
    return Latency(
        usual.ttft_ms if first is None else first, usual.tokens_per_s if speed is None else speed
    )
