"""The part of a catalog file that says how its model is reached: address, key, headers, endpoints.

What names a secret is never echoed, because people paste keys where a name belongs.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from llmrouter.catalog.yaml_reader import Block, shown
from llmrouter.domain.patterns import compile_pattern
from llmrouter.domain.target import DIRECT, Access, Endpoint

ACCESS_KEYS: Final = (
    "api_key_file",
    "headers",
    "query",
    "params",
    "overrides",
    "endpoints",
    "proxy",
    "ca",
)
_VARIABLE = compile_pattern(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = compile_pattern(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HOST = compile_pattern(r"[\w.-]+")
_LONGEST_ALIAS = 200
_KEY_PREFIXES = ("sk-", "sk_", "gsk_", "AIza", "xai-", "hf_", "ghp_", "pk-", "Bearer")
_OWN_HEADERS = frozenset(
    (
        *("accept", "accept-encoding", "connection", "content-length", "content-type", "host"),
        *("transfer-encoding", "authorization", "x-api-key", "api-key"),
    )
)
_OWN_MEMBERS = frozenset({"model", "messages", "input", "stream", "router"})


def read_access(fields: Block, first: Endpoint) -> Access:
    """How the target is reached; `first` is the place that its own base_url names."""
    access = Access(
        headers=_headers(fields),
        query=_strings(fields, "query"),
        params=_members(fields, "params"),
        overrides=_members(fields, "overrides"),
        endpoints=_endpoints(fields, first),
        api_key_file=_key_file(fields),
        proxy=_proxy(fields),
        ca=fields.text("ca"),
    )
    return DIRECT if access == DIRECT else access


def read_aliases(fields: Block, target: str) -> tuple[str, ...]:
    """`aliases`: names by which callers already ask for a model."""
    found = []
    for alias, node in fields.texts("aliases") or ():
        odd = not alias.isprintable() or len(alias) > _LONGEST_ALIAS
        if odd or alias in ("auto", target):
            fields.sheet.report(node, f"{shown(alias)!r} cannot be an alias: give another name")
        found.append(alias)
    return tuple(dict.fromkeys(found))


def read_base_url(fields: Block, *, required: bool = True) -> str | None:
    """`base_url`, without its last slash: an http(s) address with no credentials in it."""
    url = fields.text("base_url", required=required)
    if url is None:
        return None
    try:
        parsed = urlsplit(url)
        host, _ = parsed.hostname, parsed.port
    except ValueError:
        parsed, host = None, None
    if parsed is None or parsed.scheme not in ("http", "https") or not host:
        fields.fail("base_url", "must start with http:// or https:// and name a host")
    elif parsed.username is not None or parsed.password is not None:
        fields.fail("base_url", "holds credentials: name a variable in `api_key_env` instead")
    elif ":" not in host and not _HOST.fullmatch(host):
        fields.fail("base_url", "names no host: write a name or an address without escapes")
    elif parsed.query or parsed.fragment or any(c.isspace() for c in url):
        fields.fail("base_url", "must be an address alone, without spaces, `?` or `#`")
    elif wire := _wire_path(parsed.path):
        fields.fail("base_url", f"must end before {wire}, which is added by itself")
    else:
        return url.rstrip("/")
    return None


def _wire_path(path: str) -> str | None:
    """The wire format's own path at the end of an address, which the service adds."""
    paths = "/chat/completions", "/messages", "/responses", "/embeddings", "/completions"
    return next((p for p in paths if path.rstrip("/").endswith(p)), None)


def read_key_name(fields: Block) -> str | None:
    """`api_key_env`: the name of a variable. A value that looks like a key is never echoed."""
    name = fields.text("api_key_env")
    if name is None:
        return None
    if looks_like_key(name):
        fields.fail(
            "api_key_env",
            "looks like a key itself: put the key into an environment variable, write that "
            "variable's name here, and revoke the key if this file was shared",
        )
        return None
    if not _VARIABLE.fullmatch(name):
        fields.fail("api_key_env", "must be a variable's name, such as OPENAI_API_KEY")
        return None
    return name


def looks_like_key(text: str) -> bool:
    """Whether a string is rather a secret than the name of a variable."""
    if text.startswith(_KEY_PREFIXES):
        return True
    mixed = any(c.islower() for c in text) and any(c.isdigit() for c in text)
    return len(text) >= 24 and mixed


def _key_file(fields: Block) -> str | None:
    path = fields.text("api_key_file")
    if path is not None and "api_key_env" in fields:
        fields.fail("api_key_file", "stands beside `api_key_env`: a key has one source")
    elif path is not None and not path.startswith(("/", "./", "../")) and looks_like_key(path):
        fields.fail("api_key_file", "looks like a key itself: write the path of a file that has it")
    return path


def _headers(fields: Block) -> dict[str, str]:
    headers = _strings(fields, "headers")
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not value.isprintable() or not value.isascii():
            fields.fail("headers", f"holds {shown(name)!r}, which cannot be sent as a header")
        elif name.lower() in _OWN_HEADERS:
            fields.fail("headers", f"cannot set {shown(name)}: the service writes it itself")
        elif looks_like_key(value):
            fields.fail("headers", f"holds a key under {shown(name)}: name its variable instead")
    return headers


def _strings(fields: Block, name: str) -> dict[str, str]:
    """A mapping of names to text; numbers are taken as written."""
    block = fields.open_block(name)
    if block is None:
        return {}
    found = {}
    for key in block:
        value = block.value(key)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            found[key] = str(value)
        else:
            block.fail(key, "must be text")
    return found


def _members(fields: Block, name: str) -> dict[str, object]:
    """Members of a request's body, as JSON would have them."""
    block = fields.open_block(name)
    found = {} if block is None else {key: block.document(key) for key in block}
    for key in _OWN_MEMBERS & found.keys():
        fields.fail(name, f"cannot set `{key}`: it is the request's own")
    return found


def _endpoints(fields: Block, first: Endpoint) -> tuple[Endpoint, ...]:
    """All places of the target, the one of its base_url first unless it is listed itself."""
    found = []
    for block in fields.blocks("endpoints", ("base_url", "api_key_env", "weight")):
        base_url = read_base_url(block)
        key = read_key_name(block)
        weight = block.number("weight", 0, 1e6, above=True)
        if base_url is not None:
            given = 1.0 if weight is None else weight
            found.append(Endpoint(base_url, key or first.api_key_env, given))
    if found and first.base_url not in {endpoint.base_url for endpoint in found}:
        found.insert(0, first)
    return tuple(found)


def _proxy(fields: Block) -> str | None:
    url = fields.text("proxy")
    if url is None:
        return None
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme != "http" or not host or (":" not in host and not _HOST.fullmatch(host)):
        fields.fail("proxy", "must be the http:// address of a proxy")
    elif parts.username is not None or parts.password is not None:
        fields.fail("proxy", "holds credentials: a proxy with a password is not supported")
    return url
