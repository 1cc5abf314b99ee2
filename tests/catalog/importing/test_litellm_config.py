"""Targets from a LiteLLM configuration."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from llmrouter.catalog.importing.entry import ImportedModel, ImportFailed
from llmrouter.catalog.importing.litellm_config import read_config

CONFIG = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-eu
      api_base: https://eu.openai.azure.com/
      api_version: "2024-06-01"
      api_key: os.environ/AZURE_EU_KEY
      temperature: 0.2
      rpm: 6
  - model_name: Claude Best
    litellm_params: {model: anthropic/claude-x, api_key: sk-ant-REDACTED}
    model_info:
      input_cost_per_token: 0.000003
      output_cost_per_token: 0.000015
      cache_read_input_token_cost: 3.0e-07
      max_input_tokens: 200000
      max_output_tokens: 64000
      supports_function_calling: true
  - model_name: local
    litellm_params: {model: openai/llama, api_base: "http://a.internal:8000/v1", api_key: none}
  - model_name: local
    litellm_params: {model: openai/llama, api_base: "http://b.internal:8000/v1", api_key: none}
  - model_name: "*"
    litellm_params: {model: "openai/*"}
"""


@pytest.fixture
def models() -> dict[str, ImportedModel]:
    """The configuration's models by their names."""
    return {model.name: model for model in read_config(yaml.safe_load(CONFIG))}


def test_an_azure_deployment_keeps_its_address_version_and_variable(
    models: dict[str, ImportedModel],
) -> None:
    """Azure has a path a deployment, a version in the query and a header of its own."""
    azure = models["gpt-4o"]
    assert azure.base_url == "https://eu.openai.azure.com/openai/deployments/gpt-4o-eu"
    assert azure.api_key_env == "AZURE_EU_KEY"
    assert azure.extra == {
        "auth": "azure",
        "query": {"api-version": "2024-06-01"},
        "params": {"temperature": 0.2},
    }
    assert azure.notes == ("Not carried over: rpm.",)


def test_a_key_in_the_file_is_never_copied(models: dict[str, ImportedModel]) -> None:
    """A variable takes its place, and a note says so."""
    claude = models["Claude Best"]
    assert claude.api_key_env == "ANTHROPIC_API_KEY"
    assert "set ANTHROPIC_API_KEY" in claude.notes[0]
    assert "sk-ant" not in claude.file("config.yaml", "2026-11-28")


def test_costs_a_token_become_prices_a_million(models: dict[str, ImportedModel]) -> None:
    """Also the limits, what it can do, and the name that clients use."""
    claude = models["Claude Best"]
    assert claude.price == {"input": 3.0, "output": 15.0, "cached_input": 0.3}
    assert (claude.context_window, claude.max_output) == (200000, 64000)
    assert claude.capabilities == ("tools",)
    assert (claude.id, claude.aliases) == ("claude-best", ("Claude Best",))
    assert claude.extra == {"protocol": "anthropic-messages", "auth": "x-api-key"}


def test_deployments_of_one_model_are_endpoints_of_one_target(
    models: dict[str, ImportedModel],
) -> None:
    """LiteLLM's load balancing over equal deployments."""
    assert models["local"].extra["endpoints"] == [
        {"base_url": "http://a.internal:8000/v1"},
        {"base_url": "http://b.internal:8000/v1"},
    ]


def test_a_wildcard_is_no_model(models: dict[str, ImportedModel]) -> None:
    """It stands for whatever a provider has."""
    assert set(models) == {"gpt-4o", "Claude Best", "local"}


@pytest.mark.parametrize("document", [{}, {"model_list": None}, {"model_list": "x"}])
def test_another_file_is_refused(document: dict[str, Any]) -> None:
    """The message says what was expected."""
    with pytest.raises(ImportFailed, match="model_list"):
        read_config(document)


def deployment(model: str, **params: object) -> dict[str, Any]:
    """One entry of a model list."""
    return {"model_name": "m", "litellm_params": {"model": model, **params}}


@pytest.mark.parametrize(
    ("model", "params", "base_url", "name"),
    [
        (
            "bedrock/openai.gpt-oss-120b-1:0",
            {"aws_region_name": "eu-west-1"},
            "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1",
            "openai.gpt-oss-120b-1:0",
        ),
        (
            "vertex_ai/gemini-3.8-flash",
            {"vertex_project": "p", "vertex_location": "global"},
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi",
            "google/gemini-3.8-flash",
        ),
        ("ollama/llama3", {"api_base": "http://h:11434"}, "http://h:11434/v1", "llama3"),
        ("ollama_chat/llama3", {}, "http://localhost:11434/v1", "llama3"),
    ],
    ids=["bedrock", "vertex", "ollama elsewhere", "ollama here"],
)
def test_an_address_is_made_of_what_names_it(
    model: str, params: dict[str, object], base_url: str, name: str
) -> None:
    """A region, a project, or Ollama's own API becomes the compatible endpoint."""
    (found,) = read_config({"model_list": [deployment(model, **params)]})
    assert (found.base_url, found.model, found.notes) == (base_url, name, ())


def test_deployments_of_one_model_keep_their_weights() -> None:
    """Each is an endpoint with its address, its key and its share."""
    places = [deployment("openai/x", api_base=f"http://{n}/v1", weight=n) for n in (2, 3)]
    (found,) = read_config({"model_list": places})
    assert found.extra["endpoints"] == [
        {"base_url": f"http://{n}/v1", "api_key_env": "OPENAI_API_KEY", "weight": n} for n in (2, 3)
    ]


def test_a_source_without_capabilities_says_so() -> None:
    """A model without `tools` gets no agent's request, so the file asks for them."""
    (found,) = read_config({"model_list": [deployment("openai/x")]})
    assert "list tools, json_schema, vision" in found.file("config.yaml", "2026-11-28")
