"""A LiteLLM proxy's `config.yaml`: each deployment of its `model_list`.

Deployments of one name and one model become one target with several endpoints. A key that stands in
the file is never copied; the catalog names a variable that has to be set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from llmrouter.catalog.importing.entry import ImportedModel, ImportFailed, usd_per_million, whole
from llmrouter.catalog.importing.providers import split_name

_ENVIRONMENT = "os.environ/"
_READ: Final = frozenset(
    {"model", "api_base", "base_url", "api_key", "api_version", "weight", "timeout"}
)
_BODY: Final = frozenset({"temperature", "top_p", "max_tokens", "reasoning_effort", "seed"})
_CAPABILITIES: Final = {
    "supports_function_calling": "tools",
    "supports_response_schema": "json_schema",
    "supports_vision": "vision",
    "supports_reasoning": "reasoning",
    "supports_audio_input": "audio",
    "supports_pdf_input": "files",
}


def read_config(document: Mapping[str, Any]) -> list[ImportedModel]:
    """The models of a configuration. Raises ImportFailed where it has no `model_list`."""
    listed = document.get("model_list")
    if not isinstance(listed, list):
        raise ImportFailed("the file has no `model_list`, as a LiteLLM configuration has")
    found: dict[tuple[str, str], ImportedModel] = {}
    for item in listed:
        if not isinstance(item, dict) or "*" in str(item.get("model_name", "*")):
            continue  # `*` stands for every model of a provider, which is no model
        model = _deployment(item)
        key = model.name, model.model
        found[key] = model if key not in found else _with_endpoint(found[key], model)
    return _distinct(list(found.values()))


def capabilities_of(info: Mapping[str, Any]) -> tuple[str, ...]:
    """The capabilities that LiteLLM's `supports_…` flags stand for."""
    return tuple(name for flag, name in _CAPABILITIES.items() if info.get(flag) is True)


def price_of(info: Mapping[str, Any]) -> dict[str, float] | None:
    """A price from LiteLLM's costs per token."""
    given = usd_per_million(info.get("input_cost_per_token"))
    written = usd_per_million(info.get("output_cost_per_token"))
    if given is None or written is None:
        return None
    price = {"input": given, "output": written}
    cached = usd_per_million(info.get("cache_read_input_token_cost"))
    return price if cached is None else {**price, "cached_input": cached}


def _deployment(item: Mapping[str, Any]) -> ImportedModel:
    params = item.get("litellm_params") or {}
    info = {**params, **(item.get("model_info") or {})}
    provider, model = split_name(str(params.get("model", "")), params.get("custom_llm_provider"))
    name = str(item["model_name"])
    notes = []
    base_url = str(params.get("api_base") or params.get("base_url") or "").rstrip("/")
    base_url = base_url or (provider.base_url if provider else None) or ""
    extra: dict[str, Any] = dict(provider.extra) if provider else {}
    if provider and provider.name == "azure.ai.openai":
        base_url = f"{base_url}/openai/deployments/{model}"
        version = _resolved(params.get("api_version")) or "2024-10-21"
        extra["query"] = {"api-version": version}
    if not base_url.startswith("http"):
        notes.append("The source names no address: set base_url.")
        base_url = "https://set-base-url.invalid/v1"
    key, said = _key(params.get("api_key"), provider.api_key_env if provider else None)
    notes += [said] if said else []
    body = {name: value for name, value in params.items() if name in _BODY}
    if body:
        extra["params"] = body
    left = sorted(set(params) - _READ - _BODY - {"custom_llm_provider"} - set(_CAPABILITIES))
    left = [name for name in left if not name.endswith("_cost_per_token")]
    if left:
        notes.append(f"Not carried over: {', '.join(left)}.")
    return ImportedModel(
        name=name,
        model=model,
        provider=provider.name if provider else "openai",
        base_url=base_url,
        api_key_env=key,
        price=price_of(info),
        context_window=whole(info.get("max_input_tokens")) or whole(info.get("max_tokens")),
        max_output=whole(info.get("max_output_tokens")),
        capabilities=capabilities_of(info),
        extra=extra,
        notes=tuple(notes),
    )


def _key(given: object, usual: str | None) -> tuple[str | None, str]:
    """The variable of a key, and a note where the file holds the key itself."""
    text = str(given or "")
    if text.startswith(_ENVIRONMENT):
        return text.removeprefix(_ENVIRONMENT), ""
    if text.lower() in ("none", "null", "fake-key", "anything"):
        return None, ""
    if text:
        variable = usual or "LLM_API_KEY"
        return variable, f"The source held a key, which was not copied: set {variable}."
    return usual, ""


def _resolved(given: object) -> str | None:
    text = str(given or "")
    return None if not text or text.startswith(_ENVIRONMENT) else text


def _with_endpoint(model: ImportedModel, other: ImportedModel) -> ImportedModel:
    known = model.extra.get("endpoints") or [_endpoint(model)]
    return replace(model, extra={**model.extra, "endpoints": [*known, _endpoint(other)]})


def _endpoint(model: ImportedModel) -> dict[str, Any]:
    place = {"base_url": model.base_url}
    return place if model.api_key_env is None else {**place, "api_key_env": model.api_key_env}


def _distinct(models: list[ImportedModel]) -> list[ImportedModel]:
    """Models that share a name are told apart by their own; the first one keeps the name."""
    taken: set[str] = set()
    found = []
    for model in models:
        if model.id in taken:
            model = replace(model, name=f"{model.name}-{model.model}")
        taken.add(model.id)
        alias = (model.name,) if model.name != model.id else ()
        found.append(replace(model, aliases=alias))
    return found
