"""A request's words as one short unit vector, to recognise a reworded repeat of a request.

A learned projection forgets words that it never saw, and those identify a new request best. Here
every word and word pair adds its own fixed pattern of signs, weighted by its rarity, so that the
cosine of two sketches is about the share of rare words that they have in common: 0.85 to 1 for a
repeat with words of courtesy around it, 0.4 to 0.7 for the nearest of thousands of other requests.

The patterns are fixed, so sketches of two models, and of two encoders with equal rarities, can be
compared.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llmrouter.learning.encoders.hashed_features import Floats, Ints, Signals
from llmrouter.learning.model.int8 import combined

WIDTH = 64
_PATTERNS = 2048
_BITS = np.fromfile(Path(__file__).with_name("signs.bin"), np.uint8)
"""Drawn once and kept: to draw them anew, serving would have to load numpy's generators."""
_SIGNS = (np.unpackbits(_BITS) * np.int8(2) - np.int8(1)).astype(np.int8).reshape(_PATTERNS, WIDTH)
_SPREAD, _MASK = 40503, _PATTERNS - 1


def damped(signals: Signals) -> Floats:
    """What each term's count is worth: 1 for one, and little more for many."""
    weights: Floats = np.log(signals.counts)
    weights += np.float32(1)
    return weights


def sketch(signals: Signals, weights: Floats | None = None) -> Floats:
    """The unit vector [WIDTH] of measured signals; zero where there are no words.

    `weights` [len(signals.terms)], changed in place, are what each term is worth: its damped
    count times its rarity; without them all are equally rare.
    """
    terms: Ints = signals.terms
    weights = damped(signals) if weights is None else weights
    for part in (weights[: signals.pairs_from], weights[signals.pairs_from :]):
        norm = float(part @ part)
        if norm > 0:
            part *= np.float32(norm**-0.5)
    out = combined(weights, _SIGNS, (terms * _SPREAD + (terms >> 9)) & _MASK)
    size = float(out @ out)
    return out * np.float32(size**-0.5 if size > 0 else 0.0)
