"""Draws score against cost as inline SVG: curves with a band, points with labels. Pure.

Colours are CSS classes, so the page sets them for light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 860, 430
LEFT, RIGHT, TOP, BOTTOM = 62, 24, 18, 48
LABEL_HEIGHT, CHARACTER = 14, 6.3


@dataclass(frozen=True, slots=True)
class PlotLine:
    """`x`, `y` in plot units; `band` is (low, high) per point; `style` a CSS class."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str
    band: tuple[Sequence[float], Sequence[float]] | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A labelled point; `style` is a CSS class."""

    label: str
    x: float
    y: float
    style: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows; `percent` writes its ticks as shares, `dollars` as USD per 1k."""

    title: str
    low: float
    high: float
    kind: str = "number"


@dataclass(frozen=True, slots=True)
class Plot:
    """Everything in one chart. `rules` are horizontal lines: (y, label)."""

    title: str
    x: Axis
    y: Axis
    lines: Sequence[PlotLine]
    marks: Sequence[Mark] = ()
    rules: Sequence[tuple[float, str]] = ()


def svg(plot: Plot) -> str:
    """The chart as one `<svg>` element."""
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(plot.title)}">',
        *_grid(plot),
    ]
    for y, label in plot.rules:
        at = _y(plot, y)
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text class="rule-label" x="{LEFT + 6}" y="{at - 5}">{escape(label)}</text>')
    for line in plot.lines:
        parts += _line(plot, line)
    parts += _marks(plot)
    return "\n".join([*parts, "</svg>"])


def _x(plot: Plot, value: float) -> float:
    span = (plot.x.high - plot.x.low) or 1.0
    return round(LEFT + (value - plot.x.low) / span * (WIDTH - LEFT - RIGHT), 1)


def _y(plot: Plot, value: float) -> float:
    span = (plot.y.high - plot.y.low) or 1.0
    value = min(max(value, plot.y.low), plot.y.high)
    return round(HEIGHT - BOTTOM - (value - plot.y.low) / span * (HEIGHT - TOP - BOTTOM), 1)


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers from `low` to `high`."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _write(value: float, axis: Axis) -> str:
    if axis.kind == "percent":
        return f"{value:.0%}"
    if axis.kind == "dollars":
        return f"${value:.4g}"
    if axis.kind == "count":
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _grid(plot: Plot) -> list[str]:
    parts = []
    bottom = HEIGHT - BOTTOM
    for value in ticks(plot.y.low, plot.y.high):
        at = _y(plot, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(
            f'<text class="tick" text-anchor="end" x="{LEFT - 8}" y="{at + 4}">'
            f"{_write(value, plot.y)}</text>"
        )
    for value in ticks(plot.x.low, plot.x.high):
        at = _x(plot, value)
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{at}" y="{bottom + 18}">'
            f"{_write(value, plot.x)}</text>"
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="axis" text-anchor="middle" x="{middle}" y="{HEIGHT - 8}">'
        f"{escape(plot.x.title)}</text>"
    )
    half = (TOP + bottom) / 2
    parts.append(
        f'<text class="axis" text-anchor="middle" transform="translate(16 {half}) rotate(-90)">'
        f"{escape(plot.y.title)}</text>"
    )
    return parts


def _line(plot: Plot, line: PlotLine) -> list[str]:
    parts = []
    if line.band is not None:
        low, high = line.band
        edge = [(x, y) for x, y in zip(line.x, high, strict=True)]
        edge += [(x, y) for x, y in zip(line.x, low, strict=True)][::-1]
        shape = " ".join(f"{_x(plot, x)},{_y(plot, y)}" for x, y in edge)
        parts.append(f'<polygon class="band {line.style}" points="{shape}"/>')
    path = " ".join(f"{_x(plot, x)},{_y(plot, y)}" for x, y in zip(line.x, line.y, strict=True))
    name = escape(line.name)
    parts.append(
        f'<polyline class="line {line.style}" points="{path}"><title>{name}</title></polyline>'
    )
    return parts


def _marks(plot: Plot) -> list[str]:
    """Points, each label on the free side that is nearest to it."""
    parts: list[str] = []
    shown = [one for one in plot.marks if plot.y.low <= one.y <= plot.y.high]
    taken = [
        (_x(plot, one.x) - 5, _y(plot, one.y) - 5, _x(plot, one.x) + 5, _y(plot, one.y) + 5)
        for one in shown
    ]
    for one in sorted(shown, key=lambda mark: -mark.y):
        x, y = _x(plot, one.x), _y(plot, one.y)
        detail = escape(f"{one.label} {one.detail}".strip())
        parts.append(
            f'<circle class="mark {one.style}" cx="{x}" cy="{y}" r="4.5">'
            f"<title>{detail}</title></circle>"
        )
        width = len(one.label) * CHARACTER
        for side, lift in _places():
            left = x + 9 if side > 0 else x - 9 - width
            box = (left, y + lift - LABEL_HEIGHT / 2, left + width, y + lift + LABEL_HEIGHT / 2)
            inside = left >= LEFT and left + width <= WIDTH - 2 and box[1] + 4 >= TOP
            if inside and box[3] <= HEIGHT - BOTTOM and not any(_meet(box, o) for o in taken):
                taken.append(box)
                parts.append(
                    f'<text class="label {one.style}" x="{left:.1f}" y="{y + lift + 4:.1f}">'
                    f"{escape(one.label)}</text>"
                )
                break
    return parts


def _places() -> list[tuple[int, float]]:
    lifts = [0.0, -14.0, 14.0, -26.0, 26.0, -40.0, 40.0]
    return [(side, lift) for lift in lifts for side in (1, -1)]


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
