"""A package that waits: nothing of it runs before something in it is asked for, and then all."""

from __future__ import annotations

import importlib
import itertools
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from llmrouter.upstream.deferred import defer

names = (f"waiting_{number}" for number in itertools.count())

GATHERS = """
from {package}.one import One
from {package}.two import Two
import time
time.sleep(0.05)
LAST = 0
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a package with two modules, whose own code gathers what they define."""
    name = next(names)
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(GATHERS.format(package=name))
    (folder / "one.py").write_text("class One: ...\n")
    (folder / "two.py").write_text("class Two: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    defer([name])
    yield name
    for loaded in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[loaded]


def one_of(package: str) -> ModuleType:
    """Its first module, imported alone."""
    return importlib.import_module(f"{package}.one")


def test_its_modules_are_imported_without_it(package: str) -> None:
    """One of its modules can be had, and only that one is loaded."""
    assert one_of(package).One.__module__ == f"{package}.one"
    assert f"{package}.two" not in sys.modules


def test_a_name_loads_it_whole(package: str) -> None:
    """The first name asked for runs the package; what was loaded before is still the same."""
    one = one_of(package)
    waiting = sys.modules[package]
    assert waiting.Two is importlib.import_module(f"{package}.two").Two
    assert waiting.One is one.One
    assert type(waiting) is ModuleType
    assert waiting.LAST == 0


def test_from_import_loads_it(package: str) -> None:
    """The statement that is usual finds a name, and a star finds all."""
    found: dict[str, object] = {}
    exec(f"from {package} import *", found)  # noqa: S102 - a name made here
    assert {"One", "Two", "LAST"} <= found.keys()


def test_a_missing_name_is_missing(package: str) -> None:
    """A name that it does not have is an AttributeError that says whose."""
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'three'"):
        _ = importlib.import_module(package).three


def test_two_threads_ask_at_once(package: str) -> None:
    """Whoever asks while it loads waits, and finds the name."""
    module = importlib.import_module(package)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(module.LAST)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0, 0, 0, 0]


def test_what_is_loaded_stays(package: str) -> None:
    """Deferring a package that was loaded changes nothing."""
    module = importlib.import_module(package)
    _ = module.LAST
    defer([package])
    assert importlib.import_module(package) is module
    assert type(module) is ModuleType
