"""What is known of a request before anything is chosen: how likely each target answers it well.

A judgement is about a request and target *texts*. What a target costs, how fast it is, whether it
may serve and how much quality is wanted are no part of it: code weighs those for every decision, so
that a judgement stays valid when they change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b

from llmrouter.domain.target import Target

LEVELS = 5
"""Rungs of the scale of difficulty: from what any model can do to what only the best can."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`probabilities` (0..1) by the text key of each judged target; what one request is like.

    `difficulty` is 0..1, `levels` the probability of each rung of the scale, easiest first, where a
    protocol gives them. `valid_mass` is the share of the server's probability that fell on valid
    answers. `protocol` and `model` say who judged; probabilities compare within one of them alone.
    """

    probabilities: Mapping[str, float] = field(default_factory=dict)
    task: str = ""
    difficulty: float | None = None
    levels: tuple[float, ...] = ()
    valid_mass: float = 1.0
    protocol: str = ""
    model: str = ""

    @property
    def judge(self) -> str:
        """Who judged, as one name: calibration keeps its curves by it."""
        return f"{self.protocol}/{self.model}"

    def missing(self, targets: Iterable[Target]) -> tuple[Target, ...]:
        """Those whose text was not judged: new ones, and those whose description was edited."""
        return tuple(one for one in targets if text_key(one) not in self.probabilities)

    def with_more(self, later: Judgement) -> Judgement:
        """This judgement with the probabilities of a later call about other targets."""
        if later.judge != self.judge:
            return later
        return replace(self, probabilities={**self.probabilities, **later.probabilities})


def text_key(target: Target) -> str:
    """16 hex characters that change with a target's id, description or capabilities alone."""
    return _text_key(target.id, target.description, target.capabilities)


@lru_cache(maxsize=4096)
def _text_key(name: str, description: str, capabilities: frozenset[str]) -> str:
    parts = (name, " ".join(description.split()), *sorted(capabilities))
    data = "\0".join(parts).encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=8).hexdigest()
