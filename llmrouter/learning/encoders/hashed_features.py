"""Turns text into hashed word terms and readable measurements, with numpy alone.

The learned decision has a budget of 0.3 ms, so there is no Python loop over characters or words.
Words are found by byte class, and the hash of a word is a slice of one prefix sum of a rolling
polynomial (`(H[end] - H[start]) * P**-start`, modulo 2**64).

At most `MAX_BYTES` bytes are read; a longer text is represented by its head and its tail. Any `str`
is accepted, lone surrogates included. No text is kept.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmrouter.domain.patterns import compile_bytes

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
_SINGLE, _DOUBLE = np.uint64(1), np.uint64(2)
_SHIFT = np.uint64(64 - FAMILY_BITS)
_FAMILY = np.uint64(1 << FAMILY_BITS)
_HALF = np.uint64(32)
_ONE = np.uint64(1)


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
_CLASS_OF = _CLASS.tobytes()
_IS_WORD = np.isin(_CLASS, [_LOWER, _UPPER, _DIGIT, _NON_ASCII]).tobytes()
_IS_DIGIT = (_CLASS == _DIGIT).tobytes()
_OPTION = compile_bytes(rb"\n[A-P][.):]")

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
_LOGGED = np.zeros(len(READABLE), np.bool_)
_LOGGED[:_CLASSES] = True
_LOGGED[2 * _CLASSES : 2 * _CLASSES + len(_STEM)] = True
_LOGGED[_SHAPE_AT + np.array([0, 1, 2, 5, 6, 12, 13, 14, 15, 16])] = True


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
    near_duplicates: tuple[int, int]


def measured(text: str) -> Measured:
    """Measures a text, and says which others it is like."""
    return Measured(measure(text), near_duplicates(text))


def near_duplicates(text: str) -> tuple[int, int]:
    """See `Measured`."""
    opening = "".join(filter(str.isalpha, text[:80].lower()))[:40]
    return _group(opening), _group("".join(filter(str.isalnum, text.lower())))


def _group(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % ALIKE


def clip_bytes(text: str) -> bytes:
    """The bytes that represent `text`: all of a short one, head and tail of a long one."""
    if len(text) > MAX_BYTES:
        text = text[: MAX_BYTES - TAIL_CHARS - 1] + "\n" + text[-TAIL_CHARS:]
    return text.encode("utf-8", "surrogatepass")[:MAX_BYTES]


def measure(text: str) -> Signals:
    """Measures one text. Never fails; the empty text has no terms and measurements of zero."""
    raw = clip_bytes(text)
    edges = _runs(raw, _IS_WORD)
    terms, counts = _distinct(_buckets(_word_hashes(raw, edges)))
    pairs_from = int(terms.searchsorted(1 << FAMILY_BITS))
    readable = _readable(raw, edges[1::2] - edges[::2], pairs_from)
    return Signals(terms, counts, pairs_from, readable)


def _runs(raw: bytes, within: bytes) -> Ints:
    """Where runs of bytes that `within` marks start and end (exclusive), in turn."""
    marks = np.frombuffer(b"\0" + raw.translate(within) + b"\0", np.bool_)
    edges: Ints = (marks[1:] != marks[:-1]).nonzero()[0]
    return edges


def _word_hashes(raw: bytes, edges: Ints) -> NDArray[np.uint64]:
    folded = np.frombuffer(raw.lower(), np.uint8).astype(np.uint64)
    folded += _ONE
    folded *= _POWERS[: len(raw)]
    prefix = np.zeros(len(raw) + 1, np.uint64)
    np.add.accumulate(folded, out=prefix[1:])
    at = prefix.take(edges)
    hashes: NDArray[np.uint64] = (at[1::2] - at[::2]) * _INVERSES.take(edges[::2])
    return hashes


def _buckets(words: NDArray[np.uint64]) -> Ints:
    """A bucket for each word, then one for each pair of neighbours."""
    count = len(words)
    mixed = np.empty(max(2 * count - 1, 0), np.uint64)
    np.bitwise_xor(words, _SINGLE, out=mixed[:count])
    if count > 1:
        pairs = words[:-1] * _PAIR
        pairs += words[1:]
        np.bitwise_xor(pairs, _DOUBLE, out=mixed[count:])
    mixed *= _MIX
    mixed ^= mixed >> _HALF
    mixed *= _MIX
    mixed >>= _SHIFT
    mixed[count:] += _FAMILY
    buckets: Ints = mixed.view(np.int64)
    return buckets


def _distinct(buckets: Ints) -> tuple[Ints, Floats]:
    if not len(buckets):
        return buckets, np.zeros(0, np.float32)
    buckets.sort()
    first = np.empty(len(buckets) + 1, np.bool_)
    first[0] = first[-1] = True
    np.not_equal(buckets[1:], buckets[:-1], out=first[1:-1])
    at = first.nonzero()[0]
    return buckets.take(at[:-1]), (at[1:] - at[:-1]).astype(np.float32)


def _readable(raw: bytes, lengths: Ints, distinct: int) -> Floats:
    classes = np.frombuffer(raw.translate(_CLASS_OF), np.uint8)
    options = [found.start() for found in _OPTION.finditer(raw)]
    size = len(raw)
    stem = options[0] if options else size
    counts = np.zeros((6, _CLASSES))
    counts[1] = np.bincount(classes[:stem], minlength=_CLASSES)
    if options:
        counts[2] = np.bincount(classes[stem:], minlength=_CLASSES)
    np.add(counts[1], counts[2], out=counts[0])
    for row, length in ((0, size), (1, stem), (2, size - stem)):
        np.multiply(counts[row], 10.0 / max(length, 1), out=counts[row + 3])
    words, word_shares = _word_shape(lengths, distinct)
    out = np.empty(len(READABLE), np.float32)
    out[:_SHAPE_AT] = counts.ravel().take(_FROM_COUNTS)
    out[_SHAPE_AT:] = (
        *(size, words[0], stem),
        *words[1:],
        int(counts[0, _NEWLINE]),
        *_option_shape(options, size),
        *_number_shape(raw),
        *word_shares,
    )
    np.log1p(out, out=out, where=_LOGGED)
    return out


def _mean_and_spread(total: int, squares: int, count: int) -> tuple[float, float]:
    mean = total / count
    return mean, math.sqrt(max(squares / count - mean * mean, 0.0))


def _word_shape(lengths: Ints, distinct: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(count, mean, spread, longest) and (log share of distinct, share of long, of short)."""
    count = len(lengths)
    if not count:
        return (0, 0, 0, 0), (0, 0, 0)
    of_length = np.bincount(lengths)
    each = of_length[:8].tolist()
    total, squares = int(np.add.reduce(lengths)), int(lengths @ lengths)
    return (
        (count, *_mean_and_spread(total, squares, count), len(of_length) - 1),
        (
            math.log1p(distinct) - math.log1p(count),
            (count - sum(each)) / count,
            sum(each[:4]) / count,
        ),
    )


def _option_shape(options: list[int], size: int) -> tuple[float, ...]:
    """What is said of the lines such as `A. ` or `B) ` after the line ends at `options`."""
    count = len(options)
    flags = (count, count == 0, count == 4, count == 10, count > 4)
    if not count:
        return (*flags, 0, 0, 0)
    ends = [*options[1:], size]
    spans = [max(end - start - 4, 0) for start, end in zip(options, ends, strict=True)]
    squares = sum(span * span for span in spans)
    return (*flags, *_mean_and_spread(sum(spans), squares, count), max(spans))


def _number_shape(raw: bytes) -> tuple[float, ...]:
    edges = _runs(raw, _IS_DIGIT)
    digits: list[int] = (edges[1::2] - edges[::2]).tolist()
    count = len(digits)
    return (count, max(digits), sum(digits) / count) if count else (0, 0, 0)
