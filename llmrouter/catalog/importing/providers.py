"""The providers that LiteLLM's names begin with: address, key variable and how to speak to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Provider:
    """What a catalog file says of a provider. `name` is OpenTelemetry's `gen_ai.provider.name`."""

    name: str
    base_url: str | None
    api_key_env: str | None
    extra: Mapping[str, Any] = field(default_factory=dict)


_ANTHROPIC = {"protocol": "anthropic-messages", "auth": "x-api-key"}
PROVIDERS: Final[Mapping[str, Provider]] = {
    "openai": Provider("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": Provider(
        "anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", _ANTHROPIC
    ),
    "azure": Provider("azure.ai.openai", None, "AZURE_API_KEY", {"auth": "azure"}),
    "bedrock": Provider("aws.bedrock", None, None, {"auth": "aws"}),
    "vertex_ai": Provider("gcp.vertex_ai", None, None, {"auth": "google"}),
    "gemini": Provider(
        "gcp.gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
    ),
    "mistral": Provider("mistral_ai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "groq": Provider("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "deepseek": Provider("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "xai": Provider("x_ai", "https://api.x.ai/v1", "XAI_API_KEY"),
    "openrouter": Provider("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "together_ai": Provider("together_ai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "fireworks_ai": Provider(
        "fireworks_ai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"
    ),
    "perplexity": Provider("perplexity", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    "ollama": Provider("ollama", "http://localhost:11434/v1", None),
    "ollama_chat": Provider("ollama", "http://localhost:11434/v1", None),
    "hosted_vllm": Provider("vllm", None, None),
    "lm_studio": Provider("lm_studio", "http://localhost:1234/v1", None),
}


def split_name(model: str, provider: str | None = None) -> tuple[Provider | None, str]:
    """The provider that `provider/model` names, and the model's own name.

    A name without a known prefix is OpenAI's, as for LiteLLM; an unknown `provider` is None.
    """
    prefix, slash, rest = model.partition("/")
    if slash and prefix in PROVIDERS:
        return PROVIDERS[prefix], rest
    if provider is not None:
        return PROVIDERS.get(provider), model
    return PROVIDERS["openai"], model
