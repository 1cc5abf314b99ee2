"""What `serve` says when it starts: which targets can serve, which cannot, and why."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from llmrouter.catalog.lint import lacks_key
from llmrouter.domain.catalog import Catalog
from llmrouter.domain.target import Target
from llmrouter.util.addresses import on_loopback

log = logging.getLogger("llmrouter.serve")


def startup_report(
    catalog: Catalog, environ: Mapping[str, str], listens: Callable[[str], bool]
) -> tuple[list[str], list[str]]:
    """Lines to log: what is well, and what is not. `listens` probes servers of this machine."""
    able: list[str] = []
    unable: list[str] = []
    for target in catalog.enabled:
        reason = _reason(target, environ, listens)
        if reason is None:
            able.append(target.id)
        else:
            unable.append(f"{target.id} cannot serve: {reason}")
    if not able:
        unable.append(
            "no target can serve, /readyz says 503: set a key named above, or choose others with "
            "`llmrouter init`"
        )
    router = catalog.router
    if router is not None and lacks_key(router, environ):
        unable.append(f"the router LLM is not asked: {router.api_key_env} is not set")
    return ([f"can serve: {', '.join(able)}"] if able else []), unable


def report(catalog: Catalog, environ: Mapping[str, str], listens: Callable[[str], bool]) -> None:
    """Log it, a line a target that cannot serve."""
    well, unwell = startup_report(catalog, environ, listens)
    for line in well:
        log.info("%s", line)
    for line in unwell:
        log.warning("%s", line)


def _reason(
    target: Target, environ: Mapping[str, str], listens: Callable[[str], bool]
) -> str | None:
    if lacks_key(target, environ):
        return f"{target.api_key_env} is not set"
    if target.api_key_env is None and on_loopback(target.base_url) and not listens(target.base_url):
        return f"nothing listens at {target.base_url}"
    return None
