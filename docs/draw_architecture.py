"""Draws docs/architecture.txt as docs/architecture.svg: `python docs/draw_architecture.py`.

The text has one line a layer, rooms separated by spaces, then one line an arrow: `from -> to, to`.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

WIDTH, ROW, BOX, GAP = 1180, 92, 36, 10
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Picture:
    """Layers of rooms, top first, and who imports whom."""

    layers: tuple[tuple[str, ...], ...]
    arrows: tuple[tuple[str, str], ...]

    @property
    def rooms(self) -> set[str]:
        """Every room's name."""
        return {room for layer in self.layers for room in layer}


def read(text: str) -> Picture:
    """The picture that a text describes."""
    layers, arrows = [], []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        start, arrow, ends = line.partition("->")
        if arrow:
            arrows += [(start.strip(), end.strip()) for end in ends.split(",")]
        else:
            layers.append(tuple(line.split()))
    return Picture(tuple(layers), tuple(arrows))


def draw(picture: Picture) -> str:
    """The picture as SVG: a row a layer, a line an import."""
    places: dict[str, tuple[float, float, float]] = {}  # left, top, width
    for row, layer in enumerate(picture.layers):
        width = min(200.0, (WIDTH - GAP * (len(layer) + 1)) / len(layer))
        left = (WIDTH - len(layer) * width - (len(layer) - 1) * GAP) / 2
        for column, room in enumerate(layer):
            places[room] = left + column * (width + GAP), 14 + row * ROW, width
    height = 14 + (len(picture.layers) - 1) * ROW + BOX + 14
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' font-family="sans-serif" font-size="12">',
        "<title>The rooms of llmrouter and their imports</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for start, end in picture.arrows:
        (x1, y1, w1), (x2, y2, w2) = places[start], places[end]
        out.append(
            f'<line x1="{x1 + w1 / 2:.0f}" y1="{y1 + BOX:.0f}" x2="{x2 + w2 / 2:.0f}"'
            f' y2="{y2:.0f}" stroke="#8aa" stroke-width="1"/>'
        )
    for room, (x, y, width) in places.items():
        out += [
            f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{BOX}" rx="5" fill="#eef4f6"'
            ' stroke="#456"/>',
            f'<text x="{x + width / 2:.0f}" y="{y + 23}" text-anchor="middle">'
            f"{escape(room)}</text>",
        ]
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    text = (HERE / "architecture.txt").read_text()
    (HERE / "architecture.svg").write_text(draw(read(text)))
