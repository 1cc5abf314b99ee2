"""A stored preference model and its record of agreement: an entry in a log of the last two.

The live loop, a restart and `llmrouter train` read and write the same bytes. A head says how many
examples the model rests on and holds the comparisons behind its trust. A snapshot is megabytes
large, so it is in a log, which a store reads and writes behind the event loop. It holds no text and
is never unpickled; see `model.storage` for the model's own envelope.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import orjson

from llmrouter.domain.interfaces import Store
from llmrouter.learning.model.quality_model import QualityModel
from llmrouter.learning.model.storage import ModelUnreadable

MODELS = "models"
LATEST = "model:latest"
"""Names the current snapshot in a few bytes, so that workers need not read it to know it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`learned`: examples the model was fitted on; `comparisons`: as `AgreementModel.dump` gives
    them.

    `trained_at` (seconds since the epoch) is when `llmrouter train` made the model this one comes
    from: its comparisons are with other choices than those before. `seen` has, for each process
    that writes lessons down, the number of the last one in it; `steady` is
    `TeacherConsistency.dump`, and
    `answered` how many requests were answered for a task since it is trusted.
    """

    model: QualityModel
    learned: int = 0
    comparisons: list[list[object]] = field(default_factory=list)
    trained_at: float = 0.0
    seen: dict[str, int] = field(default_factory=dict)
    steady: list[bool] = field(default_factory=list)
    answered: dict[str, int] = field(default_factory=dict)

    def to_bytes(self, model: bytes | None = None) -> bytes:
        """Four bytes of the head's length, the head as JSON, the model (where it is not packed)."""
        head = orjson.dumps(
            {
                "learned": self.learned,
                "comparisons": self.comparisons,
                "trained_at": self.trained_at,
                "seen": self.seen,
                "steady": self.steady,
                "answered": self.answered,
            }
        )
        return len(head).to_bytes(4, "big") + head + (model or self.model.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """The inverse. Raises `ModelUnreadable`."""
        size = int.from_bytes(data[:4], "big")
        head = _head(data)
        try:
            learned, comparisons = int(head["learned"]), list(head.get("comparisons", []))
            trained_at = float(head.get("trained_at", 0.0))
            seen = {str(name): int(number) for name, number in head.get("seen", {}).items()}
            answered = {str(task): int(count) for task, count in head.get("answered", {}).items()}
            steady = [bool(one) for one in head.get("steady", [])]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelUnreadable(f"the snapshot's head cannot be read: {error}") from error
        model = QualityModel.from_bytes(data, at=4 + size)
        return cls(model, learned, comparisons, trained_at, seen, steady, answered)


async def publish(store: Store, packed: bytes) -> str:
    """Makes a packed snapshot the current one, the one before it the previous; its name.

    Raises `StoreFailed`.
    """
    await store.append(MODELS, [packed], 2)
    name = secrets.token_hex(8)
    await store.put(LATEST, name.encode(), None)
    return name


async def current(store: Store) -> bytes | None:
    """The packed snapshot that serves. Raises `StoreFailed`."""
    return next(iter(await store.tail(MODELS, 1)), None)


async def previous(store: Store) -> bytes | None:
    """The one before it. Raises `StoreFailed`."""
    kept = await store.tail(MODELS, 2)
    return kept[0] if len(kept) == 2 else None


def _head(data: bytes) -> dict[str, Any]:
    try:
        head = orjson.loads(data[4 : 4 + int.from_bytes(data[:4], "big")])
    except ValueError as error:
        raise ModelUnreadable(f"the snapshot's head cannot be read: {error}") from error
    if not isinstance(head, dict):
        raise ModelUnreadable("the snapshot's head is not an object")
    return head
