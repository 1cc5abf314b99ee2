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
    """`learned`: examples the model was fitted on; `comparisons`: as `Trust.dump` gives them.

    `trained_at` (seconds since the epoch) is when `llmrouter train` made the model this one comes
    from: a service that knows of an earlier training takes the stored model over.
    """

    model: PreferenceModel
    learned: int = 0
    comparisons: list[list[object]] = field(default_factory=list)
    trained_at: float = 0.0

    def to_bytes(self) -> bytes:
        """Four bytes of the head's length, the head as JSON, the model."""
        head = orjson.dumps(
            {
                "learned": self.learned,
                "comparisons": self.comparisons,
                "trained_at": self.trained_at,
            }
        )
        return len(head).to_bytes(4, "big") + head + self.model.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """The inverse. Raises `ModelUnreadable`."""
        size = int.from_bytes(data[:4], "big")
        head = _head(data)
        try:
            learned, comparisons = int(head["learned"]), list(head.get("comparisons", []))
        except (ValueError, KeyError, TypeError) as error:
            raise ModelUnreadable(f"the snapshot's head cannot be read: {error}") from error
        model = PreferenceModel.from_bytes(data[4 + size :])
        return cls(model, learned, comparisons, trained_at(data))


def trained_at(data: bytes) -> float:
    """When the model behind a snapshot was trained, without restoring it; 0 where it never was.

    Raises `ModelUnreadable`.
    """
    found = _head(data).get("trained_at", 0.0)
    return float(found) if isinstance(found, (int, float)) else 0.0


def _head(data: bytes) -> dict[str, Any]:
    try:
        head = orjson.loads(data[4 : 4 + int.from_bytes(data[:4], "big")])
    except ValueError as error:
        raise ModelUnreadable(f"the snapshot's head cannot be read: {error}") from error
    if not isinstance(head, dict):
        raise ModelUnreadable("the snapshot's head is not an object")
    return head
