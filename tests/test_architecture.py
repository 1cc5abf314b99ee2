"""docs/architecture shows the rooms that there are, and the imports between them."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EVERYWHERE = {"domain", "util", "errors"}
"""What every room may import: no arrow is drawn for it."""


def drawing() -> ModuleType:
    """docs/draw_architecture.py, which is no package."""
    path = DOCS / "draw_architecture.py"
    spec = importlib.util.spec_from_file_location("draw_architecture", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def room_of(module: str) -> str:
    """The package or module right below `llmrouter`."""
    return module.split(".")[1]


def rooms() -> set[str]:
    """Every package and module of the product, but what starts it."""
    found = {path.parent.name for path in (ROOT / "llmrouter").glob("*/__init__.py")}
    return found | {path.stem for path in (ROOT / "llmrouter").glob("[!_]*.py")}


def imports() -> set[tuple[str, str]]:
    """Which room imports which, by their source; those of `TYPE_CHECKING` count as well."""
    found = set()
    for path in (ROOT / "llmrouter").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1].startswith("_"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
                if node.module == "llmrouter":
                    names = [f"llmrouter.{one.name}" for one in node.names if one.name[0] != "_"]
                for name in names:
                    if name.startswith("llmrouter.") and room_of(name) != parts[1]:
                        found.add((parts[1], room_of(name)))
    return {(start, end) for start, end in found if end not in EVERYWHERE}


def test_the_picture_has_every_room_and_no_other() -> None:
    """A new package is drawn, a package that is gone is not."""
    picture = drawing().read((DOCS / "architecture.txt").read_text())
    assert picture.rooms == rooms()


def test_the_arrows_are_the_imports_of_the_code() -> None:
    """An arrow stands for an import, and each import between rooms has its arrow."""
    picture = drawing().read((DOCS / "architecture.txt").read_text())
    drawn = set(picture.arrows)
    assert {"not drawn": imports() - drawn, "not there": drawn - imports()} == {
        "not drawn": set(),
        "not there": set(),
    }, "edit docs/architecture.txt and run python docs/draw_architecture.py"


def test_arrows_point_down() -> None:
    """No room imports one of its own layer or above."""
    picture = drawing().read((DOCS / "architecture.txt").read_text())
    rows = {room: row for row, layer in enumerate(picture.layers) for room in layer}
    assert [(start, end) for start, end in picture.arrows if rows[start] >= rows[end]] == []


def test_the_svg_is_drawn_from_the_text() -> None:
    """The picture in the repository is the one that the text makes."""
    module = drawing()
    made = module.draw(module.read((DOCS / "architecture.txt").read_text()))
    assert (DOCS / "architecture.svg").read_text() == made


def test_the_page_says_a_sentence_about_every_room() -> None:
    """A reader who looks for a room finds what it is for."""
    page = (DOCS / "architecture.md").read_text()
    told = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
    assert rooms() - told == set()


def test_the_files_that_the_page_names_are_there() -> None:
    """What moves is moved in the page as well."""
    page = (DOCS / "architecture.md").read_text()
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:/|\.py))`", page))
    places = ROOT, ROOT / "llmrouter"
    assert {name for name in named if not any((at / name).exists() for at in places)} == set()
