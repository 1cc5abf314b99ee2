"""What an attempt cost, from the upstream's own counts where it gave any.

Reasoning tokens are part of the output tokens, cached ones part of the input. Where the upstream
reported nothing, the estimate is marked as one: a guess never passes for a bill.
"""

from __future__ import annotations

from llmrouter.domain.completion import Usage
from llmrouter.domain.target import Target

CHARS_PER_TOKEN = 4


def cost_usd(target: Target, usage: Usage) -> float:
    """USD of one attempt."""
    return target.price.cost(usage.input_tokens, usage.output_tokens, usage.cached_tokens)


def estimated_usage(input_tokens: int, received_chars: int) -> Usage:
    """Usage where the upstream reported none, from the request's size and what came back."""
    return Usage(input_tokens, -(-received_chars // CHARS_PER_TOKEN), estimated=True)


def bound_usd(target: Target, input_tokens: int, output_tokens: int) -> float:
    """The most one attempt may cost if it writes `output_tokens` (or the target's own limit)."""
    if target.max_output is not None:
        output_tokens = min(output_tokens, target.max_output)
    return target.price.cost(input_tokens, output_tokens)
