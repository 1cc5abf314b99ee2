"""What an attempt cost, from the upstream's own counts where it gave any.

Reasoning tokens are part of the output tokens, cached ones part of the input. Where the upstream
reported nothing, the estimate is marked as one: a guess never passes for a bill. Where it reported
more than the request can have used, it is billed for no more than that.
"""

from __future__ import annotations

from llmrouter.domain.completion import Usage
from llmrouter.domain.target import Target

CHARS_PER_TOKEN = 4


def cost_usd(target: Target, usage: Usage) -> float:
    """USD of one attempt."""
    return target.price.cost(
        usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens
    )


def believable(usage: Usage, target: Target, body_bytes: int, choices: int = 1) -> Usage:
    """The usage, cut to what one request can use at all.

    Input fits into the context window, or into the bytes that were sent where those are more (a
    window in the catalog may be set lower than the model's own). Each choice's output, thought
    included, fits into the window too.
    """
    most_in = max(target.context_window, body_bytes)
    return usage.within(most_in, choices * max(target.context_window, target.max_output or 0))


def estimated_usage(input_tokens: int, received_bytes: int) -> Usage:
    """Usage where the upstream reported none, from the request's size and the text that came."""
    return Usage(input_tokens, -(-received_bytes // CHARS_PER_TOKEN), estimated=True)


def unread_text(event: bytes, framing: int) -> int:
    """About how many bytes of text a stream's event holds that was not parsed; 4 at least.

    `framing` is how long an earlier event was without its text, which measures those that carry
    something else than `content` (a tool call's arguments).
    """
    at = event.find(b'content":')
    if at >= 0:
        start = at + 10 if event.startswith(b" ", at + 9) else at + 9
        if event.startswith(b'"', start):
            return max(CHARS_PER_TOKEN, _closing_quote(event, start + 1) - start - 1)
    return max(CHARS_PER_TOKEN, len(event) - framing) if framing else CHARS_PER_TOKEN


def _closing_quote(data: bytes, start: int) -> int:
    """Where the JSON string that begins at `start` ends."""
    end = data.find(b'"', start)
    while end >= 0:
        slashes = 0
        while data[end - 1 - slashes] == 0x5C:
            slashes += 1
        if slashes % 2 == 0:
            return end
        end = data.find(b'"', end + 1)
    return len(data)


def bound_usd(target: Target, input_tokens: int, output_tokens: int, answers: int = 1) -> float:
    """The most one attempt may cost if it writes `output_tokens` over all answers (or the target's
    own limit, which holds for each)."""
    if target.max_output is not None:
        output_tokens = min(output_tokens, answers * target.max_output)
    return target.price.cost(input_tokens, output_tokens)
