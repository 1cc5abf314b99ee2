"""A command's arguments as one dataclass, for commands that have many.

Typer reads arguments from a function's parameters, so the function shows it the dataclass's fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

Given = TypeVar("Given")


def takes(kind: type[Given]) -> Callable[[Callable[[Given], None]], Callable[..., None]]:
    """Has a command take each field of the dataclass `kind` as an argument or option."""

    def wrap(command: Callable[[Given], None]) -> Callable[..., None]:
        def call(**values: Any) -> None:
            command(kind(**values))

        hints = get_type_hints(kind, include_extras=True)
        parameters = [
            parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(kind).parameters.items()
        ]
        call.__name__, call.__doc__ = command.__name__, command.__doc__
        call.__annotations__ = {name: hints[name] for name in hints}
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return call

    return wrap
