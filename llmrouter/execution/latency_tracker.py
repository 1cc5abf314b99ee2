"""How long a target usually takes to commit, for hedging: the 95th percentile of recent waits."""

from __future__ import annotations

from collections import deque

from llmrouter.domain.target import Target

_KEPT = 64
_ENOUGH = 8


class Pace:
    """Recent milliseconds to the first event, per target and mode. Small, and never persisted."""

    def __init__(self) -> None:
        self._recent: dict[tuple[str, bool], deque[float]] = {}

    def note(self, target: str, stream: bool, ms: float) -> None:
        """One attempt committed after `ms`."""
        recent = self._recent.get((target, stream))
        if recent is None:
            recent = self._recent[target, stream] = deque(maxlen=_KEPT)
        recent.append(ms)

    def p95_s(self, target: Target, stream: bool, output_tokens: int) -> float:
        """Seconds; until enough has been seen, twice what the catalog expects."""
        recent = self._recent.get((target.id, stream), ())
        if len(recent) < _ENOUGH:
            latency = target.latency
            expected = latency.ttft_ms if stream else latency.total_ms(output_tokens)
            return 2.0 * expected / 1000.0
        ordered = sorted(recent)
        return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] / 1000.0
