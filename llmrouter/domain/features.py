"""What one reading of a request yields.

Cheap facts (sizes, needs, the fingerprint) are there at once, because every request needs them.
Readable traits (task, language, code, maths) cost a few regular expressions each, so they are
read on first use and then kept: a cached decision never pays for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llmrouter.domain.quick import quick

TASKS: tuple[str, ...] = (
    "code",
    "math",
    "translation",
    "summarization",
    "extraction",
    "classification",
    "writing",
    "question_answering",
    "chat",
    "general",
)
"""The tasks that rules and the router LLM tell apart; a caller may declare another."""


SIDE_TASKS: tuple[str, ...] = (
    "title",
    "topic",
    "summary",
    "suggestion",
    "compaction",
    "probe",
)
"""What coding agents ask for beside their conversation.

The answer to a `compaction` replaces the context of a whole session.
"""


@dataclass(frozen=True, slots=True)
class Traits:
    """Readable properties of the last user turn, for rules, explanations and learning.

    `side_task` names what a coding agent asks for beside its conversation (a title, a topic, …).
    """

    task: str = "general"
    language: str = "en"
    words: int = 0
    code: bool = False
    math: bool = False
    question: bool = False
    side_task: str | None = None


@quick
@dataclass(frozen=True)
class Features:
    """One request, measured.

    `fingerprint` is a keyed hash (32 hex characters) of the normalised prompt with the system
    prompt, the tenant and every constraint that can change the decision; `content` is the same
    without the constraints: what a judgement is about. `conversation` names the
    conversation (keyed hash of system prompt and first user turn). `needs` are capability names a
    target must have. `input_tokens` is an estimate; `output_tokens` is what the caller asked for
    or a default, over all `answers`. `continuation` is true on tool-result and `Observation:`
    turns, which never re-route. `text` is the last user turn as it stands; nothing may store it
    unasked.
    """

    fingerprint: str
    conversation: str
    text: str
    system: str
    input_tokens: int
    output_tokens: int
    needs: frozenset[str]
    turns: int
    tools: bool
    continuation: bool
    asked_output: bool = False
    read_traits: Callable[[], Traits] = field(default=Traits, repr=False, compare=False)
    content: str = ""
    answers: int = 1

    @cached_property
    def traits(self) -> Traits:
        """The readable traits, measured on first use."""
        return self.read_traits()

    @property
    def subject(self) -> str:
        """What a judgement of this request is filed under: its content, whatever is asked of it."""
        return self.content or self.fingerprint

    @property
    def total_tokens(self) -> int:
        """What must fit into a context window: the request and one answer."""
        return self.input_tokens + self.answer_tokens

    @property
    def answer_tokens(self) -> int:
        """The length of one answer."""
        return self.output_tokens if self.answers == 1 else self.output_tokens // self.answers


def output_limit(document: Mapping[str, Any]) -> int | None:
    """The most tokens that one answer may have, as the request says; None where it does not.

    The larger, where both names are used: servers differ in which one they read.
    """
    limits = [document.get(name) for name in ("max_completion_tokens", "max_tokens")]
    return max((int(n) for n in limits if isinstance(n, int | float) and n > 0), default=None)


def answers_of(document: Mapping[str, Any]) -> int:
    """How many answers are written, and billed: `n`, or `best_of` where that is more."""
    counts = [document.get(name) for name in ("n", "best_of")]
    return max((int(n) for n in counts if isinstance(n, int | float) and n > 1), default=1)
