"""A frozen dataclass that is made as fast as a plain one.

`dataclass(frozen=True)` fills each field through `object.__setattr__`, ten times the cost of an
assignment, and a request makes dozens of values. Here the new instance is of a class that can be
written while its fields are filled, and of its own class, which cannot, before anyone sees it.
Equality, hashing, `replace` and the error on assignment stay the dataclass's own.

A class without slots (one with a `cached_property`) is filled through its dict.

It refuses what it does not do: classes not frozen or with `__post_init__`, fields that are neither
given nor made by a factory, and subclasses.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

Value = TypeVar("Value")


def quick(cls: type[Value]) -> type[Value]:
    """Give a `dataclass(frozen=True)` its fast `__init__`. Raises TypeError."""
    parts = fields(cls)  # type: ignore[arg-type]  # a TypeError where it is no dataclass
    names = tuple(part.name for part in parts)
    if not cls.__dataclass_params__.frozen or hasattr(cls, "__post_init__"):  # type: ignore[attr-defined]
        raise TypeError(f"{cls.__name__} is not frozen, or has a __post_init__")
    slotted = cls.__dict__.get("__slots__") == names
    if not slotted and not cls.__dictoffset__:
        raise TypeError(f"{cls.__name__} has slots that are not its fields")
    known: dict[str, Any] = {"MISSING": MISSING}
    parameters, lines = ["self"], []
    for part in parts:
        name, value = part.name, part.name
        if part.default_factory is not MISSING:
            known[f"make_{name}"] = part.default_factory
            value = (
                f"make_{name}() if {name} is MISSING else {name}" if part.init else f"make_{name}()"
            )
            parameters += [f"{name}=MISSING"] if part.init else []
        elif not part.init:
            raise TypeError(f"{cls.__name__}.{name}: nothing fills it")
        elif part.default is not MISSING:
            known[f"default_{name}"] = part.default
            parameters.append(f"{name}=default_{name}")
        else:
            parameters.append(name)
        lines.append(f"self.{name} = {value}" if slotted else f"own[{name!r}] = {value}")
    if slotted:
        known["draft"] = type(cls.__name__, (), {"__slots__": names})
        known["own"], known["become"] = cls, object.__setattr__
        lines = ["become(self, '__class__', draft)", *lines, "self.__class__ = own"]
    else:
        lines = ["own = self.__dict__", *lines]
    body = "\n    ".join(lines)
    exec(f"def __init__({', '.join(parameters)}):\n    {body}", known)  # noqa: S102 - our own names
    made = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__doc__ = cls.__init__.__doc__
    made.__annotations__ = dict(cls.__init__.__annotations__)
    type.__setattr__(cls, "__init__", made)
    return cls
