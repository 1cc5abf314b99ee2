# /// script
# requires-python = ">=3.11"
# dependencies = ["llama-index-llms-openai-like==0.8.1"]
# ///
"""LlamaIndex: OpenAILike, whole, streamed, and as the model of an agent with a tool."""

import asyncio
import os

from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

router = os.environ.get("ROUTER_URL", "http://localhost:8080")
llm = OpenAILike(
    model=os.environ.get("ROUTER_MODEL", "auto"),
    api_base=f"{router}/v1",
    api_key=os.environ.get("ROUTER_KEY", "any"),
    is_chat_model=True,
    is_function_calling_model=True,
    context_window=100_000,
)


def weather(city: str) -> str:
    """The weather of a city."""
    return f"18° in {city}"


async def ask(question: str) -> None:
    """Let an agent answer, and show what its tool said."""
    running = FunctionAgent(tools=[weather], llm=llm).run(question)
    async for event in running.stream_events():
        if isinstance(event, ToolCallResult):
            print("tool:", event.tool_output.content)
    print("final:", await running)


turn = ChatMessage(role="user", content="Summarise: the cat sat on the mat.")
print("answer:", llm.chat([turn]).message.content)
print("stream:", "".join(chunk.delta or "" for chunk in llm.stream_chat([turn])))
asyncio.run(ask("What is the weather in Paris?"))
