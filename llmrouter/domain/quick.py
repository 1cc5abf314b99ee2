"""A frozen dataclass that is made as fast as a plain one.

`dataclass(frozen=True)` fills each field through `object.__setattr__`, ten times the cost of an
assignment, and a request makes dozens of values. Here the new instance is of a class that can be
written while its fields are filled, and of its own class, which cannot, before anyone sees it.
Equality, hashing, `replace` and the error on assignment stay the dataclass's own.

It refuses what it does not do: classes without slots, with `__post_init__`, fields that are neither
given nor made by a factory, and subclasses.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

Value = TypeVar("Value")


def quick(cls: type[Value]) -> type[Value]:
    """Give a `dataclass(frozen=True, slots=True)` its fast `__init__`. Raises TypeError."""
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # a TypeError if not
    if cls.__dict__.get("__slots__") != tuple(names) or hasattr(cls, "__post_init__"):
        raise TypeError(f"{cls.__name__} has no slots of its own, or a __post_init__")
    if any(not f.init and f.default_factory is MISSING for f in fields(cls)):  # type: ignore[arg-type]
        raise TypeError(f"{cls.__name__} has a field that nothing fills")
    known: dict[str, Any] = {
        "draft": type(cls.__name__, (), {"__slots__": tuple(names)}),
        "own": cls,
        "become": object.__setattr__,
        "MISSING": MISSING,
    }
    parameters, lines = ["self"], ["become(self, '__class__', draft)"]
    for field in fields(cls):  # type: ignore[arg-type]
        name = field.name
        if not field.init:
            known[f"make_{name}"] = field.default_factory
            lines.append(f"self.{name} = make_{name}()")
        elif field.default is not MISSING:
            known[f"default_{name}"] = field.default
            parameters.append(f"{name}=default_{name}")
            lines.append(f"self.{name} = {name}")
        elif field.default_factory is not MISSING:
            known[f"make_{name}"] = field.default_factory
            parameters.append(f"{name}=MISSING")
            lines.append(f"self.{name} = make_{name}() if {name} is MISSING else {name}")
        else:
            parameters.append(name)
            lines.append(f"self.{name} = {name}")
    body = "\n    ".join([*lines, "self.__class__ = own"])
    exec(f"def __init__({', '.join(parameters)}):\n    {body}", known)  # noqa: S102 - our own names
    made = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__doc__ = cls.__init__.__doc__
    made.__annotations__ = dict(cls.__init__.__annotations__)
    type.__setattr__(cls, "__init__", made)
    return cls
