"""A LiteLLM proxy's `config.yaml`: each deployment of its `model_list`.

Deployments of one name and one model become one target with several endpoints. A key that stands in
the file is never copied; the catalog names a variable that has to be set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from llmrouter.catalog.importing.entry import ImportedModel, ImportFailed, usd_per_million, whole
from llmrouter.catalog.importing.providers import Provider, split_name

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
    endpoints: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in listed:
        if not isinstance(item, dict) or "*" in str(item.get("model_name", "*")):
            continue  # `*` stands for every model of a provider, which is no model
        model = _deployment(item)
        key = model.name, model.model
        found.setdefault(key, model)
        endpoints.setdefault(key, []).append(_endpoint(model, item))
    for key, several in endpoints.items():
        if len(several) > 1:
            extra = {**found[key].extra, "endpoints": several}
            found[key] = replace(found[key], extra=extra)
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
    used: set[str] = set()
    if provider and provider.name == "ollama" and not base_url.endswith("/v1"):
        base_url += "/v1"  # LiteLLM asks Ollama's own API, which lies beside the compatible one
    elif provider and not base_url:
        base_url, used = _cloud_url(provider, params)
        if used and provider.name == "gcp.vertex_ai" and "/" not in model:
            model = f"google/{model}"
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
    left = sorted(set(params) - used - _READ - _BODY - {"custom_llm_provider"} - set(_CAPABILITIES))
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


def _cloud_url(provider: Provider, params: Mapping[str, Any]) -> tuple[str, set[str]]:
    """The compatible endpoint of a cloud's region, and the parameters that name it."""
    region, project = (
        _resolved(params.get("aws_region_name")),
        _resolved(params.get("vertex_project")),
    )
    if provider.name == "aws.bedrock" and region:
        return f"https://bedrock-runtime.{region}.amazonaws.com/openai/v1", {"aws_region_name"}
    if provider.name == "gcp.vertex_ai" and project:
        place = _resolved(params.get("vertex_location")) or "us-central1"
        host = "aiplatform" if place == "global" else f"{place}-aiplatform"
        path = f"v1/projects/{project}/locations/{place}/endpoints/openapi"
        return f"https://{host}.googleapis.com/{path}", {"vertex_project", "vertex_location"}
    return "", set()


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


def _endpoint(model: ImportedModel, item: Mapping[str, Any]) -> dict[str, Any]:
    """Where a deployment is, and its share of the requests where the file gives it one."""
    place: dict[str, Any] = {"base_url": model.base_url}
    if model.api_key_env is not None:
        place["api_key_env"] = model.api_key_env
    weight = (item.get("litellm_params") or {}).get("weight")
    if isinstance(weight, int | float) and not isinstance(weight, bool) and weight > 0:
        place["weight"] = weight
    return place


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
