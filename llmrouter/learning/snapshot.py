"""A stored preference model with what was learned beside it: one value under one key.

Why it exists: the live loop, a restart and `llmrouter train` must agree on the bytes. A head says
how many examples the model rests on and holds the comparisons that its trust is made of.

What it refuses: it holds no text, and never unpickles; see `storage` for the model's own envelope.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from llmrouter.learning.model import PreferenceModel
from llmrouter.learning.storage import ModelUnreadable

CURRENT = "model:current"
PREVIOUS = "model:previous"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`learned`: examples the model was fitted on; `comparisons`: as `Trust.dump` gives them."""

    model: PreferenceModel
    learned: int = 0
    comparisons: list[list[object]] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """Four bytes of the head's length, the head as JSON, the model."""
        head = orjson.dumps({"learned": self.learned, "comparisons": self.comparisons})
        return len(head).to_bytes(4, "big") + head + self.model.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """The inverse. Raises `ModelUnreadable`."""
        size = int.from_bytes(data[:4], "big")
        try:
            head: dict[str, Any] = orjson.loads(data[4 : 4 + size])
            learned, comparisons = int(head["learned"]), list(head.get("comparisons", []))
        except (ValueError, KeyError, TypeError) as error:
            raise ModelUnreadable(f"the snapshot's head cannot be read: {error}") from error
        return cls(PreferenceModel.from_bytes(data[4 + size :]), learned, comparisons)
