# /// script
# requires-python = ">=3.11"
# dependencies = ["openai==3.57.0"]
# ///
"""Responses with the `openai` package: an answer, a stream, a tool, and who answered."""

import os

from openai import OpenAI

router = os.environ.get("ROUTER_URL", "http://localhost:8080")
model = os.environ.get("ROUTER_MODEL", "auto")
client = OpenAI(base_url=f"{router}/v1", api_key=os.environ.get("ROUTER_KEY", "any"))

raw = client.responses.with_raw_response.create(
    model=model, input="Summarise: the cat sat on the mat."
)
print("answer:", raw.parse().output_text)
print("target:", raw.headers["x-llmrouter-target"])

with client.responses.stream(model=model, input="Translate 'good morning' into French.") as stream:
    print("stream: ", end="")
    for event in stream:
        if event.type == "response.output_text.delta":
            print(event.delta, end="")
    print(f"\ntokens: {stream.get_final_response().usage.total_tokens}")

weather = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
# The router keeps no responses: send the whole conversation instead of previous_response_id.
conversation = [{"role": "user", "content": "What is the weather in Paris?"}]
called = client.responses.create(model=model, input=conversation, tools=[weather])
call = next(item for item in called.output if item.type == "function_call")
print("tool:", call.name, call.arguments)
conversation += called.output
conversation += [{"type": "function_call_output", "call_id": call.call_id, "output": "18°"}]
final = client.responses.create(model=model, input=conversation, tools=[weather])
print("final:", final.output_text)
