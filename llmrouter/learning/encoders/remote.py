"""Encoders that have to be asked: vectors are fetched ahead, kept, and read without waiting.

The model encodes on the fast path, where an `/v1/embeddings` server or a large local model is too
slow. `prepare` waits for one text's vector, within a time limit and behind a circuit breaker; after
that `vectors` returns it at once. `vectors` never waits: a missing vector is a LookupError, and the
caller goes on without it. A vector length that changes under the same name is an error.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from llmrouter.domain.catalog import Learned
from llmrouter.domain.embedding_space import HASHING, EncoderSpec, encoder_spec
from llmrouter.domain.interfaces import Embeddings
from llmrouter.errors import EncoderFailed
from llmrouter.learning.encoders.hashed_features import Floats
from llmrouter.learning.encoders.text_encoder import JointEncoder
from llmrouter.learning.model.quality_model import QualityModel
from llmrouter.util.circuit_breaker import Breaker

log = logging.getLogger(__name__)

KEPT = 4_096
"""Texts whose vectors are kept: of 1,536 numbers they take 25 MB."""
QUIET_S = 60.0
WARM_S = 300.0
REST_S = 1.0
MAX_REST_S = 600.0
"""Seconds that a rate limited server is left alone where it names no time, and at most."""


class FetchedEncoder:
    """Implements `Dense` on what was fetched from `source`. Confined to one event loop.

    `limit_s` says how long `prepare` may wait. `width` is 0 until a first vector, or the model
    that was fitted on this space, tells it.
    """

    def __init__(
        self,
        name: str,
        source: Embeddings,
        limit_s: Callable[[], float],
        breaker: Breaker | None = None,
    ) -> None:
        self.name = name
        self.width = 0
        self._source = source
        self._limit_s = limit_s
        self._breaker = breaker or Breaker()
        self._kept: OrderedDict[str, Floats] = OrderedDict()
        self._quiet_until = 0.0
        self._resting_until = 0.0

    def vector(self, text: str) -> Floats | None:
        """The vector at hand, or None."""
        return self._kept.get(text)

    def vectors(self, texts: Sequence[str]) -> Floats:
        """The vectors at hand, in order. Raises LookupError where one is missing."""
        return np.stack([self._kept[text] for text in texts])

    async def prepare(self, text: str, within_s: float = math.inf) -> None:
        """Have `text` at hand, within the limit and `within_s`. Raises EncoderFailed."""
        if text in self._kept:
            self._kept.move_to_end(text)
            return
        rest_s = self._resting_until - time.monotonic()
        if rest_s > 0:
            raise EncoderFailed("rate_limited", f"next try in {math.ceil(rest_s)} s")
        if not self._breaker.allow():
            wait_s = math.ceil(self._breaker.remaining_s())
            raise EncoderFailed("circuit_open", f"next try in {wait_s} s")
        own_s = self._limit_s()
        limit_s = min(own_s, within_s)
        try:
            async with asyncio.timeout(limit_s):
                await self._fetch([text])
        except TimeoutError:
            late = EncoderFailed("timeout", f"over {limit_s * 1000:.0f} ms")
            if limit_s < own_s:  # the caller's haste says nothing about the encoder
                self._breaker.release()
                raise late from None
            raise self._failed(late) from None
        except EncoderFailed as failure:
            raise self._failed(failure) from None
        self._breaker.success()

    async def warm(self) -> None:
        """Ask once without haste: a local model is loaded, a server is known to answer."""
        try:
            async with asyncio.timeout(WARM_S):
                await self._fetch(["."])
        except TimeoutError:
            self._failed(EncoderFailed("timeout", f"over {WARM_S:.0f} s"))
        except EncoderFailed as failure:
            self._failed(failure)

    async def close(self) -> None:
        """Let go of the source."""
        await self._source.close()

    async def _fetch(self, texts: Sequence[str]) -> None:
        given = await self._source.embed(texts)
        try:
            rows = np.asarray(given, np.float32)
        except (ValueError, TypeError, OverflowError):
            raise EncoderFailed("malformed", "the vectors are no table of numbers") from None
        shaped = rows.ndim == 2 and len(rows) == len(texts) and rows.size > 0
        if not shaped or not np.isfinite(rows).all():
            raise EncoderFailed("malformed", f"no {len(texts)} vectors of finite numbers")
        width = self.width or rows.shape[1]
        if rows.shape[1] != width:
            raise EncoderFailed(
                "malformed",
                f"{rows.shape[1]} numbers a text now, {width} before: it is another model, so give "
                "it a name of its own",
            )
        self.width = width
        self._kept.update(zip(texts, rows, strict=True))
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def _failed(self, failure: EncoderFailed) -> EncoderFailed:
        """Feeds the circuit, and says so once in a while. A rate limit is a wait, no failure."""
        if failure.kind == "rate_limited":
            self._breaker.release()
            rest_s = min(failure.retry_after_s or REST_S, MAX_REST_S)
            self._resting_until = max(self._resting_until, time.monotonic() + rest_s)
        else:
            self._breaker.failure()
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            log.warning("%s gives no vectors, learned preferences abstain: %s", self.name, failure)
        return failure


def _nowhere(spec: EncoderSpec, _: str | None) -> Embeddings:
    raise ValueError(f"no address is configured for {spec}")


def _untold(_: EncoderFailed) -> None:
    """Nobody counts."""


class Encoders:
    """The encoder that routing.yaml names, which may be another one at any moment.

    `make` gives the source of a spec with the variable that holds its key, on first use; `failed`
    hears of every text that could not be encoded. Without arguments it is always hashing.
    """

    def __init__(
        self,
        settings: Callable[[], Learned] = Learned,
        make: Callable[[EncoderSpec, str | None], Embeddings] = _nowhere,
        failed: Callable[[EncoderFailed], None] = _untold,
    ) -> None:
        self._settings = settings
        self._make = make
        self._failed = failed
        self._made: dict[tuple[str, str | None, str | None], FetchedEncoder] = {}

    @property
    def space(self) -> str:
        """The configured space; "" is hashing, which needs no server."""
        name = self._settings().encoder
        return "" if name == str(HASHING) else name

    def current(self) -> FetchedEncoder | None:
        """What is configured now, the same object as long as it stays the same; None: hashing."""
        wanted = self._settings()
        spec = encoder_spec(wanted.encoder)
        if spec == HASHING:
            return None
        place = (wanted.encoder, wanted.encoder_url, wanted.api_key_env)
        if place not in self._made:
            there = EncoderSpec(spec.kind, spec.model, wanted.encoder_url or spec.base_url)
            source = self._make(there, wanted.api_key_env)
            self._made[place] = FetchedEncoder(str(spec), source, self._limit_s)
        return self._made[place]

    async def warm(self) -> None:
        """Have the encoder ready before the first request needs it; what is wrong is told."""
        encoder = self.current()
        if encoder is not None:
            await encoder.warm()

    async def prepare(self, text: str, within_s: float) -> None:
        """Have a text's vector at hand, where that takes asking; where it fails, it is not."""
        if self.space:
            encoder = self.current()
            try:
                if encoder is not None:
                    await encoder.prepare(text, within_s)
            except EncoderFailed as failure:
                self._failed(failure)

    def vector(self, text: str) -> Floats | None:
        """A text's vector, where it has one at hand."""
        encoder = self.current() if self.space else None
        return None if encoder is None else encoder.vector(text)

    def attach(self, model: QualityModel) -> bool:
        """Have `model` read what is configured now. False, and a warning, where it cannot."""
        if attached(model, self.current()):
            return True
        reads = model.encoder
        log.warning(
            "the stored preference model reads vectors of %s [%d], and %s is wanted: it is not "
            "used, and one is fitted as soon as enough was learned with that encoder",
            reads.name,
            reads.dense.width if isinstance(reads, JointEncoder) else reads.width,
            self.space or HASHING,
        )
        return False

    async def close(self) -> None:
        """Let go of every source."""
        for encoder in self._made.values():
            await encoder.close()

    def _limit_s(self) -> float:
        return self._settings().timeout_ms / 1000.0


def attached(model: QualityModel, encoder: FetchedEncoder | None) -> bool:
    """Whether `model` was fitted on what `encoder` gives (None: hashing); if so it reads it now."""
    reads = model.encoder
    if encoder is None or not isinstance(reads, JointEncoder):
        return encoder is None and reads.name == str(HASHING)
    if reads.name != encoder.name or encoder.width not in (0, reads.dense.width):
        return False
    encoder.width = reads.dense.width
    model.encoder = JointEncoder(reads.hashing, encoder)
    return True
