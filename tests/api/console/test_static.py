"""The console's files, without a browser."""

from __future__ import annotations

import re

from llmrouter.api.console import assets

OURS = {name: one for name, one in assets().items() if not name.startswith("uplot")}


def test_no_module_is_long_and_none_writes_markup() -> None:
    """Modules stay readable, and text never becomes markup."""
    modules = {name: one.body.decode() for name, one in OURS.items() if name.endswith(".js")}
    assert len(modules) > 5
    for name, text in modules.items():
        assert len(text.splitlines()) <= 400, name
        markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\("
        assert not re.search(markup, text), name


def test_every_module_that_is_imported_is_there() -> None:
    """A page that loads later would fail only when it is opened."""
    for name, one in OURS.items():
        for wanted in re.findall(r'(?:from|import\() ?"\./([^"]+)"', one.body.decode()):
            assert wanted in OURS, f"{name} imports {wanted}"


def test_every_colour_that_is_used_is_defined() -> None:
    """In light, and in dark where it differs."""
    styles = "".join(one.body.decode() for name, one in OURS.items() if name.endswith(".css"))
    defined = set(re.findall(r"(--[a-z0-9-]+):", styles))
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", styles))
    assert used <= defined | {"--w", "--c"}


def test_the_chart_library_comes_with_its_licence() -> None:
    """MIT asks for its notice in every copy."""
    assert b"MIT License" in assets()["uplot.LICENSE.txt"].body
