# /// script
# requires-python = ">=3.11"
# dependencies = ["pydantic-ai-slim[openai,anthropic]==2.68.0"]
# ///
"""Pydantic AI: an agent with a tool and a typed answer, over each of the three formats."""

import os

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

router = os.environ.get("ROUTER_URL", "http://localhost:8080")
name = os.environ.get("ROUTER_MODEL", "auto")
key = os.environ.get("ROUTER_KEY", "any")


class City(BaseModel):
    """What is asked for."""

    name: str
    inhabitants: int


for model in (
    OpenAIChatModel(name, provider=OpenAIProvider(base_url=f"{router}/v1", api_key=key)),
    OpenAIResponsesModel(name, provider=OpenAIProvider(base_url=f"{router}/v1", api_key=key)),
    AnthropicModel(name, provider=AnthropicProvider(base_url=router, api_key=key)),
):
    agent = Agent(model)

    @agent.tool_plain
    def weather(city: str) -> str:
        """The weather of a city."""
        print("tool:", city)
        return "18°"

    print("final:", agent.run_sync("What is the weather in Paris?").output)
    typed = Agent(model, output_type=City)
    print("typed:", repr(typed.run_sync("Describe Paris.").output))
