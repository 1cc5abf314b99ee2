"""Files of a catalog are read once for the same text."""

from __future__ import annotations

from llmrouter.catalog.file_reader import routing_file, target_file
from tests.catalog.prompts_dir import ROUTING, SMALL

TARGETS = {"small": True, "large": True}


def test_the_same_text_is_the_same_target() -> None:
    """Another text, name or path is read for itself."""
    first = target_file("p/catalog/small.md", "small", SMALL)
    assert target_file("p/catalog/small.md", "small", SMALL) is first
    assert first.target is not None
    other = target_file("p/catalog/small.md", "small", SMALL.replace("8000", "9000"))
    assert other.target is not None
    assert (first.target.context_window, other.target.context_window) == (8000, 9000)
    renamed = target_file("p/catalog/other.md", "other", SMALL)
    assert renamed.target is not None
    assert renamed.target.id == "other"


def test_problems_are_remembered_with_their_file() -> None:
    """Twice the same list, of the file that was named."""
    for _ in range(2):
        read = target_file("q/catalog/small.md", "small", SMALL.replace("8000", "many"))
        assert read.target is None
        assert [(one.file, one.line) for one in read.problems] == [("q/catalog/small.md", 7)]


def test_routing_depends_on_the_targets_there_are() -> None:
    """A target that is switched off makes the same text wrong."""
    policy, problems = routing_file("p/routing.yaml", ROUTING, TARGETS)
    assert policy is not None
    assert problems == ()
    policy, problems = routing_file("p/routing.yaml", ROUTING, {**TARGETS, "small": False})
    assert policy is None
    assert problems
    assert routing_file("p/routing.yaml", ROUTING, TARGETS)[0] is not None
