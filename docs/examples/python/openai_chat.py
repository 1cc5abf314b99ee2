# /// script
# requires-python = ">=3.11"
# dependencies = ["openai==3.57.0"]
# ///
"""Chat completions with the `openai` package: an answer, a stream, a tool, and who answered."""

import os

from openai import OpenAI

router = os.environ.get("ROUTER_URL", "http://localhost:8080")
model = os.environ.get("ROUTER_MODEL", "auto")  # or a target's id, which pins it
client = OpenAI(base_url=f"{router}/v1", api_key=os.environ.get("ROUTER_KEY", "any"))

raw = client.chat.completions.with_raw_response.create(
    model=model,
    messages=[{"role": "user", "content": "Summarise: the cat sat on the mat."}],
    extra_body={"router": {"quality": 0.3}},
)
print("answer:", raw.parse().choices[0].message.content)
print("target:", raw.headers["x-llmrouter-target"])

stream = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "Translate 'good morning' into French."}],
    stream=True,
    stream_options={"include_usage": True},
)
print("stream: ", end="")
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="")
    if chunk.usage:
        print(f"\ntokens: {chunk.usage.total_tokens}")

weather = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
messages = [{"role": "user", "content": "What is the weather in Paris?"}]
called = client.chat.completions.create(model=model, messages=messages, tools=[weather])
call = called.choices[0].message.tool_calls[0]
print("tool:", call.function.name, call.function.arguments)
messages += [called.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "18°"}]
final = client.chat.completions.create(model=model, messages=messages, tools=[weather])
print("final:", final.choices[0].message.content)
