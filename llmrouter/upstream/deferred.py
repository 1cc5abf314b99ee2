"""Packages that are loaded when something in them is first asked for.

Why it exists: `import openai` runs packages that only gather names: models of every endpoint there
is, and an HTTP library that is not spoken here. One call of one endpoint needs none of them, and
they are ten megabytes of every worker.

What it refuses: to leave anything out. A deferred package has its modules and, from the moment one
is asked for, its names; a name that it does not have is missing as ever.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_loading = threading.RLock()


def defer(packages: Iterable[str]) -> None:
    """Have these packages wait until they are needed; those already loaded are left as they are."""
    known = [finder for finder in sys.meta_path if isinstance(finder, _Deferring)]
    if not known:
        known = [_Deferring()]
        sys.meta_path.insert(0, known[0])
    known[0].names.update(packages)


class _Deferring(MetaPathFinder):
    """Finds the deferred packages where they are, and has them do nothing yet."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Later(spec.loader)
        return spec


class _Later(Loader):
    """Runs nothing yet; all else is as `real` has it: resources, sources, what is a package."""

    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _Waiting

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class _Waiting(ModuleType):
    """A package of which nothing has run; its modules can be imported all the same."""

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        with _loading:
            if spec is not None and isinstance(spec.loader, _Later):
                self.__loader__ = spec.loader = spec.loader.real
                spec.loader.exec_module(self)
                self.__class__ = ModuleType  # type: ignore[assignment]  # it waits no more
        return ModuleType.__getattribute__(self, name)
