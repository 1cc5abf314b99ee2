# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain==1.5.2", "langchain-openai==1.7.4", "langchain-anthropic==1.7.10"]
# ///
"""LangChain: ChatOpenAI and ChatAnthropic as the model of an agent with a tool."""

import os

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

router = os.environ.get("ROUTER_URL", "http://localhost:8080")
model = os.environ.get("ROUTER_MODEL", "auto")
key = os.environ.get("ROUTER_KEY", "any")


def weather(city: str) -> str:
    """The weather of a city."""
    return f"18° in {city}"


for chat in (
    ChatOpenAI(model=model, base_url=f"{router}/v1", api_key=key),
    ChatOpenAI(model=model, base_url=f"{router}/v1", api_key=key, use_responses_api=True),
    ChatAnthropic(model=model, base_url=router, api_key=key),
):
    print("answer:", chat.invoke("Summarise: the cat sat on the mat.").text)
    print("stream:", "".join(chunk.text for chunk in chat.stream("Translate 'good morning'.")))
    agent = create_agent(chat, tools=[weather])
    turns = agent.invoke({"messages": [("user", "What is the weather in Paris?")]})["messages"]
    print("tool:", next(turn.content for turn in turns if turn.type == "tool"))
    print("final:", turns[-1].text)
