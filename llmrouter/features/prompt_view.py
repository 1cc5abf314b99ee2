"""Cuts a request down to what the router LLM reads.

Difficulty shows at the ends of a conversation: what it is about (system prompt, first user turn)
and what is asked now (the latest turns, with the assistant's, so that a bare "yes, go on" is read
with the answer it continues). The middle is counted, not shown. Over-long turns lose their middle,
visibly. Pure; the view holds user text and must be treated as data.
"""

from __future__ import annotations

from collections import Counter

from llmrouter.domain.chat import ChatRequest, Message
from llmrouter.domain.prompt_view import View, ViewLimits, ViewTurn
from llmrouter.features.harness_envelopes import strip_envelopes

DEFAULT_LIMITS = ViewLimits()


def bounded_view(request: ChatRequest, limits: ViewLimits = DEFAULT_LIMITS) -> View:
    """The view of `request`. Its text has at most the sum of the limits, plus the trim marks."""
    turns = [m for m in request.messages if m.role not in ("system", "developer")]
    system = "\n".join(m.text for m in request.messages if m.role in ("system", "developer"))
    latest = turns[-max(1, limits.turns) :]
    earlier = turns[: len(turns) - len(latest)]
    opening = next((index for index, m in enumerate(earlier) if m.role == "user"), None)
    skipped = Counter(m.role for index, m in enumerate(earlier) if index != opening)
    document = request.document
    return View(
        system=trim(system.strip(), limits.system_chars)[0],
        first=None if opening is None else _shown(earlier[opening], limits.first_chars),
        latest=tuple(
            _shown(m, limits.last_chars if m is latest[-1] else limits.turn_chars) for m in latest
        ),
        skipped=dict(skipped),
        user_turns=sum(m.role == "user" for m in turns),
        chars=sum(len(m.text) for m in request.messages),
        tools=_count(document.get("tools")) + _count(document.get("functions")),
    )


def trim(text: str, limit: int) -> tuple[str, int]:
    """`text` within `limit` characters and a mark, and how many characters were left out.

    Two thirds of the room go to the beginning, a third to the end.
    """
    if len(text) <= limit:
        return text, 0
    head = limit * 2 // 3
    tail = limit - head
    left_out = len(text) - limit
    end = text[len(text) - tail :] if tail else ""
    return f"{text[:head]}\n[... {left_out} characters left out ...]\n{end}", left_out


def _shown(message: Message, limit: int) -> ViewTurn:
    text = strip_envelopes(message.text) if message.role != "assistant" else message.text
    shown, left_out = trim(text, limit)
    return ViewTurn(message.role, shown, message.parts, message.calls_tools, left_out)


def _count(tools: object) -> int:
    return len(tools) if isinstance(tools, list) else 0
