"""A small valid prompts directory to break in one place at a time."""

from __future__ import annotations

from pathlib import Path

SMALL = """\
---
model: small-1
provider: openai
base_url: https://api.example.com/v1
api_key_env: EXAMPLE_KEY
price: {input: 0.25, cached_input: 0.025, output: 2.0}
context_window: 8000
max_output: 2000
capabilities: [tools]
latency: {ttft_ms: 300, tokens_per_s: 100}
---
The small one: short and simple requests.
"""
LARGE = SMALL.replace("small", "large").replace("0.25,", "2.5,")
ROUTING = """\
default: small
router:
  model: tiny
  base_url: https://api.example.com/v1
  price: {input: 0.05, output: 0.4}
rules:
  - name: sums
    when: {task: math}
    route: large
cascade:
  order: [small, large]
"""
ROUTER = "{% for target in targets %}{{ target.id }}: {{ target.description }}\n{% endfor %}"


def files(**over: str) -> dict[str, str]:
    """The directory's files by their name; `over` replaces (`small`, `large`, `routing`, …)."""
    parts = {"small": SMALL, "large": LARGE, "routing": ROUTING, "router": ROUTER, "verifier": ""}
    parts.update(over)
    found = {
        "catalog/small.md": parts["small"],
        "catalog/large.md": parts["large"],
        "routing.yaml": parts["routing"],
        "router.md": parts["router"],
    }
    if parts["verifier"]:
        found["verifier.md"] = parts["verifier"]
    return found


def written(directory: Path, **over: str) -> Path:
    """The directory on disk."""
    for name, text in files(**over).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return directory
