"""Turns text into hashed word terms and readable measurements, with numpy alone.

Why it exists: the learned decision has a budget of 0.3 ms, so nothing here loops over characters
or words in Python. Words are found by byte class, and each word's hash is a slice of one prefix
sum of a rolling polynomial (`(H[end] - H[start]) * P**-start`, modulo 2**64).

What it refuses: it keeps no text, learns nothing, and reads at most `MAX_BYTES` bytes; a longer
text is represented by its head and its tail. Any `str` is accepted, lone surrogates included.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

MAX_BYTES = 8192
TAIL_CHARS = 1500
FAMILY_BITS = 17
"""Bits of one term family's hash; family 0 is single words, family 1 is pairs of words."""
BUCKETS = 2 << FAMILY_BITS

_MULTIPLIER = 0x9E3779B97F4A7C15
_MIX = np.uint64(0xD6E8FEB86659FD93)
_PAIR = np.uint64(0xA24BAED4963EE407)
_SHIFT = np.uint64(64 - FAMILY_BITS)
_HALF = np.uint64(32)


def _powers(base: int) -> NDArray[np.uint64]:
    powers = np.full(MAX_BYTES + 1, np.uint64(base), np.uint64)
    powers[0] = 1
    np.multiply.accumulate(powers, out=powers)
    return powers


_POWERS = _powers(_MULTIPLIER)
_INVERSES = _powers(pow(_MULTIPLIER, -1, 1 << 64))

_GROUPS = (
    b" ",
    b"\n\r\t",
    b"abcdefghijklmnopqrstuvwxyz",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"0123456789",
    bytes(range(128, 256)),
    b"+-*/=<>^%|~",
    b"()[]{}",
    b".,;:",
    b"?",
    b"!",
    b"'\"`",
    b"$",
    b"_",
    b"\\#&@",
)
_NAMES = (
    "other",
    "space",
    "newline",
    "lower",
    "upper",
    "digit",
    "non_ascii",
    "maths",
    "bracket",
    "stop",
    "question",
    "exclamation",
    "quote",
    "dollar",
    "underscore",
    "escape",
)
_CLASSES = len(_GROUPS) + 1
_SPACE, _NEWLINE, _LOWER, _UPPER, _DIGIT, _NON_ASCII = 1, 2, 3, 4, 5, 6


def _class_table() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for number, group in enumerate(_GROUPS, start=1):
        table[list(group)] = number
    return table


_CLASS = _class_table()
_IS_WORD = np.isin(_CLASS, [_LOWER, _UPPER, _DIGIT, _NON_ASCII])
_FOLD = np.arange(256, dtype=np.uint64)
_FOLD[65:91] += np.uint64(32)
_FOLD += np.uint64(1)

_STEM = np.array([1, 3, 4, 5, 7, 8, 9, 10])
_SHARES = np.array([1, 3, 4, 5, 7, 8, 9])
_SHAPE = (
    "bytes",
    "words",
    "stem_bytes",
    "word_length",
    "word_length_spread",
    "longest_word",
    "lines",
    "options",
    "no_options",
    "four_options",
    "ten_options",
    "many_options",
    "option_length",
    "option_length_spread",
    "longest_option",
    "numbers",
    "longest_number",
    "number_length",
    "distinct_words",
    "long_words",
    "short_words",
)
READABLE: tuple[str, ...] = (
    *(f"count_{name}" for name in _NAMES),
    *(f"share_{name}" for name in _NAMES),
    *(f"stem_count_{_NAMES[i]}" for i in _STEM),
    *(f"stem_share_{_NAMES[i]}" for i in _SHARES),
    *(f"option_share_{_NAMES[i]}" for i in _SHARES),
    *_SHAPE,
)
"""Names of the readable measurements, in the order `Signals.readable` has them."""

_SHAPE_AT = len(READABLE) - len(_SHAPE)
_FROM_COUNTS = np.concatenate(
    (
        np.arange(_CLASSES),
        3 * _CLASSES + np.arange(_CLASSES),
        _CLASSES + _STEM,
        4 * _CLASSES + _SHARES,
        5 * _CLASSES + _SHARES,
    )
)
_LOGGED = np.concatenate(
    (
        np.arange(_CLASSES),
        2 * _CLASSES + np.arange(len(_STEM)),
        _SHAPE_AT + np.array([0, 1, 2, 5, 6, 12, 13, 14, 15, 16]),
    )
)


@dataclass(frozen=True, slots=True)
class Signals:
    """What is measured of one text.

    `terms`: sorted distinct buckets in 0..BUCKETS, `counts`: how often each occurs (float32),
    `pairs_from`: the index in `terms` where pairs of words begin, `readable`: one float32 per
    name in `READABLE` (counts on a log scale, shares times ten).
    """

    terms: Ints
    counts: Floats
    pairs_from: int
    readable: Floats


ALIKE = 5040
"""Groups of texts that open alike; divisible by every usual number of folds."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All that a fit needs of a text that is not kept: its signals, and its `twins`.

    `twins` are the text's group by how it opens and its group as a whole, each in 0..ALIKE: held
    out together, so that a text's twin does not vouch for it. Few groups: they name no text.
    """

    signals: Signals
    twins: tuple[int, int]


def measured(text: str) -> Measured:
    """Measures a text, and says which others it is like."""
    return Measured(measure(text), twins(text))


def twins(text: str) -> tuple[int, int]:
    """See `Measured`."""
    opening = "".join(filter(str.isalpha, text[:80].lower()))[:40]
    return _group(opening), _group("".join(filter(str.isalnum, text.lower())))


def _group(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % ALIKE


def clip_bytes(text: str) -> NDArray[np.uint8]:
    """The bytes that represent `text`: all of a short one, head and tail of a long one."""
    if len(text) > MAX_BYTES:
        text = text[: MAX_BYTES - TAIL_CHARS - 1] + "\n" + text[-TAIL_CHARS:]
    raw = text.encode("utf-8", "surrogatepass")
    return np.frombuffer(raw[:MAX_BYTES], np.uint8)


def measure(text: str) -> Signals:
    """Measures one text. Never fails; the empty text has no terms and measurements of zero."""
    raw = clip_bytes(text)
    classes = _CLASS.take(raw)
    starts, ends = _runs(_IS_WORD.take(raw))
    words = _word_hashes(raw, starts, ends)
    singles = _bucket(words, 1)
    pairs = _bucket(words[:-1] * _PAIR + words[1:], 2) + (1 << FAMILY_BITS)
    terms, counts = _distinct(np.concatenate((singles, pairs)))
    pairs_from = int(np.searchsorted(terms, 1 << FAMILY_BITS))
    readable = _readable(raw, classes, ends - starts, pairs_from)
    return Signals(terms, counts, pairs_from, readable)


def _runs(mask: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Start and end (exclusive) of each run of True in `mask`."""
    padded = np.zeros(len(mask) + 2, np.bool_)
    padded[1:-1] = mask
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return edges[::2], edges[1::2]


def _word_hashes(raw: NDArray[np.uint8], starts: Ints, ends: Ints) -> NDArray[np.uint64]:
    prefix = np.zeros(len(raw) + 1, np.uint64)
    np.cumsum(_FOLD.take(raw) * _POWERS[: len(raw)], out=prefix[1:])
    hashes: NDArray[np.uint64] = (prefix.take(ends) - prefix.take(starts)) * _INVERSES.take(starts)
    return hashes


def _bucket(hashes: NDArray[np.uint64], seed: int) -> Ints:
    mixed = (hashes ^ np.uint64(seed)) * _MIX
    mixed ^= mixed >> _HALF
    mixed *= _MIX
    mixed >>= _SHIFT
    buckets: Ints = mixed.view(np.int64)
    return buckets


def _distinct(buckets: Ints) -> tuple[Ints, Floats]:
    if not len(buckets):
        return buckets, np.zeros(0, np.float32)
    buckets.sort()
    first = np.empty(len(buckets) + 1, np.bool_)
    first[0] = first[-1] = True
    np.not_equal(buckets[1:], buckets[:-1], out=first[1:-1])
    at = np.flatnonzero(first)
    return buckets[at[:-1]], np.diff(at).astype(np.float32)


def _options(raw: NDArray[np.uint8]) -> Ints:
    """Offsets of the line ends before lines such as `A. ` or `B) `."""
    lines = np.flatnonzero(raw == 10)
    lines = lines[lines < len(raw) - 2]
    letter, mark = raw[lines + 1], raw[lines + 2]
    lettered = (letter >= 65) & (letter <= 80)
    options: Ints = lines[lettered & ((mark == 46) | (mark == 41) | (mark == 58))]
    return options


def _readable(
    raw: NDArray[np.uint8], classes: NDArray[np.uint8], lengths: Ints, distinct: int
) -> Floats:
    options = _options(raw)
    size = len(raw)
    stem = int(options[0]) if len(options) else size
    number_starts, number_ends = _runs(classes == _DIGIT)
    counts = np.zeros((3, _CLASSES))
    counts[0] = np.bincount(classes, minlength=_CLASSES)
    if stem == size:
        counts[1] = counts[0]
    else:
        counts[1] = np.bincount(classes[:stem], minlength=_CLASSES)
        np.subtract(counts[0], counts[1], out=counts[2])
    words, word_shares = _word_shape(lengths, distinct)
    shape = [
        *(size, words[0], stem),
        *words[1:],
        int(counts[0, _NEWLINE]),
        *_option_shape(options, size),
        *_number_shape(number_ends - number_starts),
        *word_shares,
    ]
    shares = counts * (10.0 / np.maximum(1, (size, stem, size - stem)))[:, None]
    out = np.empty(len(READABLE), np.float32)
    out[:_SHAPE_AT] = np.concatenate((counts.ravel(), shares.ravel()))[_FROM_COUNTS]
    out[_SHAPE_AT:] = shape
    out[_LOGGED] = np.log1p(out[_LOGGED])
    return out


def _mean_and_spread(values: Ints, count: int) -> tuple[float, float]:
    mean = int(values.sum()) / count
    return mean, math.sqrt(max(int(values @ values) / count - mean * mean, 0.0))


def _word_shape(lengths: Ints, distinct: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(count, mean, spread, longest) and (log share of distinct, share of long, of short)."""
    count = len(lengths)
    if not count:
        return (0, 0, 0, 0), (0, 0, 0)
    by_length = np.bincount(np.minimum(lengths, 8), minlength=9).tolist()
    return (
        (count, *_mean_and_spread(lengths, count), int(lengths.max())),
        (
            math.log1p(distinct) - math.log1p(count),
            by_length[8] / count,
            sum(by_length[:4]) / count,
        ),
    )


def _option_shape(options: Ints, size: int) -> tuple[float, ...]:
    count = len(options)
    flags = (count, count == 0, count == 4, count == 10, count > 4)
    if not count:
        return (*flags, 0, 0, 0)
    ends = np.append(options[1:], size)
    spans = np.maximum(ends - options - 4, 0)
    return (*flags, *_mean_and_spread(spans, count), int(spans.max()))


def _number_shape(numbers: Ints) -> tuple[float, ...]:
    count = len(numbers)
    return (count, int(numbers.max()), int(numbers.sum()) / count) if count else (0, 0, 0)
