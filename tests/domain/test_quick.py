"""Values made fast are the same values."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace
from functools import cached_property

import pytest

from llmrouter.domain.quick import quick


@dataclass(frozen=True, slots=True)
class Plain:
    """A value as the standard library makes it."""

    name: str
    size: int = 3
    parts: list[str] = field(default_factory=list)


@quick
@dataclass(frozen=True, slots=True)
class Fast:
    """The same value, made fast."""

    name: str
    size: int = 3
    parts: list[str] = field(default_factory=list)


@quick
@dataclass(frozen=True, slots=True)
class Key:
    """A value that can be hashed."""

    name: str
    size: int = 3


def test_fields_and_defaults_are_those_of_the_plain_one() -> None:
    """Positions, names, defaults and factories mean the same."""
    for made in (lambda c: c("a"), lambda c: c("a", 4, ["x"]), lambda c: c(size=5, name="b")):
        plain, fast = made(Plain), made(Fast)
        assert (plain.name, plain.size, plain.parts) == (fast.name, fast.size, fast.parts)
        assert type(fast) is Fast
    assert Fast("a").parts is not Fast("a").parts


@quick
@dataclass(frozen=True, slots=True)
class Noted:
    """A value with notes that are nobody's to give."""

    name: str
    notes: dict[str, int] = field(default_factory=dict, init=False, compare=False)


def test_a_field_that_is_not_given_is_made() -> None:
    """`init=False` keeps a field out of the arguments, and a replaced value gets a new one."""
    value = Noted("a")
    value.notes["x"] = 1
    assert replace(value, name="b").notes == {}
    assert value == Noted("a")
    with pytest.raises(TypeError, match="notes"):
        Noted("a", notes={})  # type: ignore[call-arg]


def test_it_is_frozen() -> None:
    """A field cannot be assigned or deleted, and there is no other attribute."""
    value = Key("a")
    with pytest.raises(FrozenInstanceError):
        value.name = "b"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del value.name  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        object.__setattr__(value, "other", 1)
    assert value.name == "a"


def test_equality_hash_replace_and_copies_are_the_dataclass_s_own() -> None:
    """Two equal values are one key; a replaced or pickled one is of the same class."""
    assert Key("a", 4) == Key(name="a", size=4) != Key("a")
    assert {Key("a"): 1}[Key("a", 3)] == 1
    assert replace(Key("a"), size=9) == Key("a", 9)
    assert copy.copy(Fast("a", 1, ["x"])) == Fast("a", 1, ["x"])
    assert pickle.loads(pickle.dumps(Key("a"))) == Key("a")  # noqa: S301 - made a line above
    assert repr(Key("a")) == "Key(name='a', size=3)"


def test_wrong_arguments_are_refused_by_name() -> None:
    """A missing or unknown argument is a TypeError, as anywhere."""
    with pytest.raises(TypeError, match="name"):
        Key()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="sise"):
        Key("a", sise=1)  # type: ignore[call-arg]


@quick
@dataclass(frozen=True)
class Lazy:
    """A value without slots, for a property that is worked out once."""

    name: str
    size: int = 3

    @cached_property
    def doubled(self) -> int:
        """Twice the size."""
        return 2 * self.size


def test_a_value_without_slots_is_frozen_and_remembers() -> None:
    """It keeps what a cached property found, and nothing else can be written."""
    value = Lazy("a", size=4)
    assert (value.doubled, value.doubled, value) == (8, 8, Lazy("a", 4))
    with pytest.raises(FrozenInstanceError):
        value.size = 5  # type: ignore[misc]
    assert replace(value, size=1).doubled == 2


def test_what_it_cannot_do_is_refused() -> None:
    """Not frozen, a `__post_init__`, a field nobody fills: TypeError where the class is written."""

    @dataclass(slots=True)
    class Loose:
        name: str

    @dataclass(frozen=True, slots=True)
    class Busy:
        name: str

        def __post_init__(self) -> None:
            raise AssertionError

    @dataclass(frozen=True, slots=True)
    class Hollow:
        name: str
        left: int = field(init=False)

    for cls in (Loose, Busy, Hollow, int):
        with pytest.raises(TypeError):
            quick(cls)
