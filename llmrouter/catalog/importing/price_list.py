"""A price list in JSON: LiteLLM's (USD per token), or plain `{model: {input, output}}` (per 1M)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmrouter.catalog.importing.entry import ImportedModel, ImportFailed, whole
from llmrouter.catalog.importing.litellm_config import capabilities_of, price_of
from llmrouter.catalog.importing.providers import split_name

_MODES = (None, "chat", "responses")
_PLAIN = ("input", "cached_input", "output")


def read_price_list(document: object) -> list[ImportedModel]:
    """The models of a price list, those alone that chat. Raises ImportFailed for what is none."""
    if isinstance(document, list):
        document = {
            str(item.get("model") or item.get("id")): item
            for item in document
            if isinstance(item, dict)
        }
    if not isinstance(document, Mapping):
        raise ImportFailed("a price list is a JSON object of models, or a list of them")
    found = [
        _model(str(name), entry)
        for name, entry in document.items()
        if name != "sample_spec" and isinstance(entry, dict) and entry.get("mode") in _MODES
    ]
    priced = [model for model in found if model is not None]
    if not priced:
        raise ImportFailed(
            "no model in the list has a price: give `input` and `output` in USD per 1M tokens, or "
            "LiteLLM's `input_cost_per_token` and `output_cost_per_token`"
        )
    return priced


def _model(name: str, entry: Mapping[str, Any]) -> ImportedModel | None:
    price = _price(entry)
    if price is None:
        return None
    provider, model = split_name(name, entry.get("litellm_provider") or entry.get("provider"))
    base_url = str(entry.get("base_url") or (provider.base_url if provider else "") or "")
    notes = () if base_url else ("The source names no address: set base_url.",)
    listed = entry.get("capabilities")
    return ImportedModel(
        name=model.rsplit("/", 1)[-1],
        model=model,
        provider=provider.name if provider else str(entry.get("litellm_provider") or "openai"),
        base_url=base_url or "https://set-base-url.invalid/v1",
        api_key_env=entry.get("api_key_env") or (provider.api_key_env if provider else None),
        price=price,
        context_window=whole(entry.get("context_window"))
        or whole(entry.get("max_input_tokens"))
        or whole(entry.get("max_tokens")),
        max_output=whole(entry.get("max_output")) or whole(entry.get("max_output_tokens")),
        capabilities=tuple(listed) if isinstance(listed, list) else capabilities_of(entry),
        extra=provider.extra if provider else {},
        notes=notes,
    )


def _price(entry: Mapping[str, Any]) -> dict[str, float] | None:
    nested = entry.get("price")
    plain = nested if isinstance(nested, dict) else entry
    if all(_is_price(plain.get(name)) for name in ("input", "output")):
        return {name: float(plain[name]) for name in _PLAIN if _is_price(plain.get(name))}
    return price_of(entry)


def _is_price(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
