"""What `/v1/models` tells: OpenRouter gives prices, vLLM its context, Ollama names alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from llmrouter.catalog.importing.entry import ImportedModel, ImportFailed, usd_per_million, whole
from llmrouter.catalog.importing.providers import PROVIDERS, Provider

_PARAMETERS = {
    "tools": "tools",
    "structured_outputs": "json_schema",
    "reasoning": "reasoning",
    "logprobs": "logprobs",
}
_MODALITIES = {"image": "vision", "audio": "audio", "file": "files"}
_MAX_DESCRIPTION = 1500


def read_listing(document: Mapping[str, Any], base_url: str) -> list[ImportedModel]:
    """The models of a listing fetched below `base_url` (which ends before `/models`).

    Raises ImportFailed for what is no listing.
    """
    data = document.get("data")
    if not isinstance(data, list):
        raise ImportFailed("the answer has no `data` list, as GET /v1/models has")
    items = [item for item in data if isinstance(item, dict) and isinstance(item.get("id"), str)]
    provider = _provider(base_url, items)
    return [_model(item, base_url, provider) for item in items if item["id"] != "auto"]


def is_ollama(document: Mapping[str, Any]) -> bool:
    """Whether a listing is Ollama's, which tells more of a model by `/api/show`."""
    data = document.get("data")
    return isinstance(data, list) and any(
        isinstance(item, dict) and item.get("owned_by") == "library" for item in data
    )


def with_show(item: dict[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """A listed model with what Ollama's `/api/show` tells of its context and capabilities."""
    info = shown.get("model_info") or {}
    contexts = [whole(value) for name, value in info.items() if name.endswith(".context_length")]
    names = {"tools": "tools", "vision": "vision", "thinking": "reasoning"}
    told = [names[one] for one in shown.get("capabilities") or () if one in names]
    return {**item, "context_length": next(iter(contexts), None), "told_capabilities": told}


def _provider(base_url: str, items: list[dict[str, Any]]) -> Provider:
    """Who serves the listing: a provider by its host, or a local server by what it says."""
    host = urlsplit(base_url).hostname or ""
    for provider in PROVIDERS.values():
        if provider.base_url and urlsplit(provider.base_url).hostname == host != "localhost":
            return provider
    owners = {str(item.get("owned_by")) for item in items}
    if "library" in owners:
        return PROVIDERS["ollama"]
    return PROVIDERS["hosted_vllm"] if "vllm" in owners else Provider(host or "local", None, None)


def _model(item: Mapping[str, Any], base_url: str, provider: Provider) -> ImportedModel:
    pricing, top = item.get("pricing") or {}, item.get("top_provider") or {}
    given, written = (
        usd_per_million(pricing.get("prompt", pricing.get("input"))),
        usd_per_million(pricing.get("completion", pricing.get("output"))),
    )
    price: dict[str, float] | None = None
    if given is not None and written is not None:
        price = {"input": given, "output": written}
        cached = usd_per_million(pricing.get("input_cache_read"))
        price |= {} if cached is None else {"cached_input": cached}
    elif provider.name in ("ollama", "vllm"):
        price = {"input": 0.0, "output": 0.0}
    context = whole(item.get("context_length")) or whole(item.get("max_model_len"))
    name = str(item["id"])
    return ImportedModel(
        name=name.rsplit("/", 1)[-1],
        model=name,
        provider=provider.name,
        base_url=base_url,
        api_key_env=provider.api_key_env,
        price=price,
        context_window=context,
        max_output=whole(top.get("max_completion_tokens")) or whole(item.get("max_output_tokens")),
        capabilities=_capabilities(item),
        description=str(item.get("description") or "")[:_MAX_DESCRIPTION],
        extra=provider.extra,
    )


def _capabilities(item: Mapping[str, Any]) -> tuple[str, ...]:
    parameters = item.get("supported_parameters") or ()
    modalities = (item.get("architecture") or {}).get("input_modalities") or ()
    found = [name for parameter, name in _PARAMETERS.items() if parameter in parameters]
    found += [name for modality, name in _MODALITIES.items() if modality in modalities]
    return tuple(dict.fromkeys([*found, *(item.get("told_capabilities") or ())]))
