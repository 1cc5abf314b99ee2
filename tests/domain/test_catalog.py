"""What a catalog's targets are called."""

from __future__ import annotations

from tests.fakes import a_catalog, a_target


def test_a_target_is_found_by_id_alias_and_the_upstreams_name() -> None:
    """An id wins over an alias, an alias over a model's name."""
    one = a_target("one", model="shared", aliases=("gpt-4o", "three-model"))
    two = a_target("two", model="shared")
    three = a_target("three")
    catalog = a_catalog(one, two, three)
    assert catalog.named("two") is two
    assert catalog.named("gpt-4o") is one
    assert catalog.named("shared") is one
    assert catalog.named("three-model") is one
    assert catalog.named("nothing") is None


def test_a_disabled_target_is_not_found_by_any_name() -> None:
    """Its names are free for others."""
    off = a_target("off", enabled=False, aliases=("gpt-4o",))
    on = a_target("on", aliases=("off",))
    catalog = a_catalog(on, off)
    assert catalog.named("gpt-4o") is None
    assert catalog.named("off") is on
