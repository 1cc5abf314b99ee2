# /// script
# requires-python = ">=3.11"
# dependencies = ["litellm==1.110.2"]
# ///
"""LiteLLM as a client: the router is one more OpenAI- or Anthropic-compatible provider."""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of its price list

import litellm

router = os.environ.get("ROUTER_URL", "http://localhost:8080")
model = os.environ.get("ROUTER_MODEL", "auto")
key = os.environ.get("ROUTER_KEY", "any")
question = [{"role": "user", "content": "Summarise: the cat sat on the mat."}]

for name, base in ((f"openai/{model}", f"{router}/v1"), (f"anthropic/{model}", router)):
    whole = litellm.completion(model=name, api_base=base, api_key=key, messages=question)
    print("answer:", whole.choices[0].message.content)
    stream = litellm.completion(
        model=name, api_base=base, api_key=key, messages=question, stream=True
    )
    print("stream:", "".join(chunk.choices[0].delta.content or "" for chunk in stream))

response = litellm.responses(
    model=f"openai/{model}", api_base=f"{router}/v1", api_key=key, input=question
)
print("response:", response.output[0].content[0].text)
