# /// script
# requires-python = ">=3.11"
# dependencies = ["anthropic==2.14.0"]
# ///
"""Messages with the `anthropic` package: models, tokens, an answer, a stream, a tool."""

import os

from anthropic import Anthropic

router = os.environ.get("ROUTER_URL", "http://localhost:8080")
model = os.environ.get("ROUTER_MODEL", "auto")
client = Anthropic(base_url=router, api_key=os.environ.get("ROUTER_KEY", "any"))

print("models:", ", ".join(found.id for found in client.models.list()))
question = [{"role": "user", "content": "Summarise: the cat sat on the mat."}]
print("input tokens:", client.messages.count_tokens(model=model, messages=question).input_tokens)

raw = client.messages.with_raw_response.create(model=model, max_tokens=500, messages=question)
print("answer:", raw.parse().content[0].text)
print("target:", raw.headers["x-llmrouter-target"])

with client.messages.stream(
    model=model,
    max_tokens=500,
    messages=[{"role": "user", "content": "Translate 'good morning' into French."}],
) as stream:
    print("stream: ", end="")
    for text in stream.text_stream:
        print(text, end="")
    print(f"\ntokens: {stream.get_final_message().usage.output_tokens}")

weather = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
messages = [{"role": "user", "content": "What is the weather in Paris?"}]
called = client.messages.create(model=model, max_tokens=500, messages=messages, tools=[weather])
call = next(block for block in called.content if block.type == "tool_use")
print("tool:", call.name, call.input)
result = {"type": "tool_result", "tool_use_id": call.id, "content": "18°"}
messages += [
    {"role": "assistant", "content": called.content},
    {"role": "user", "content": [result]},
]
final = client.messages.create(model=model, max_tokens=500, messages=messages, tools=[weather])
print("final:", final.content[0].text)
