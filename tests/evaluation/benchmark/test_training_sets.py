"""Which training files are fitted together, and which answer for a test set."""

from llmrouter.evaluation.benchmark.dataset import Dataset, Row
from llmrouter.evaluation.benchmark.training_sets import answering, families, used


def _set(name: str, targets: str, rows: int = 1, task: str = "") -> Dataset:
    outcomes = dict.fromkeys(targets, 1.0)
    prompts = [f"{name} {n}" for n in range(rows)]
    return Dataset(name, tuple(Row(p, p, task, outcomes) for p in prompts))


def test_files_of_the_same_targets_are_one_family() -> None:
    """Two halves of one journal belong together; another catalog does not."""
    found = families([_set("one", "ab"), _set("other", "wxyz"), _set("two", "ab", 2)])
    assert [family.names for family in found] == [("one", "two"), ("other",)]
    assert len(found[0].rows) == 3


def test_a_stray_target_in_common_joins_nothing() -> None:
    """Sharing one target of twelve leaves two families."""
    assert len(families([_set("nine", "abcdefghi"), _set("twelve", "imnopqrstuvw")])) == 2


def test_the_family_that_covers_a_test_set_answers_alone() -> None:
    """Not the larger one that shares a target with it."""
    found = families([_set("big", "cxyz", 50), _set("small", "abc", 2)])
    assert [family.names for family in used(found, ("a", "b", "c"), alone=True)] == [("small",)]
    assert len(used(found, ("a", "b", "c"), alone=False)) == 2
    order = answering(found, ("a", "b", "c"))
    assert [family.names for family in order["c"]] == [("small",), ("big",)]


def test_targets_of_several_families_are_answered_by_each() -> None:
    """As for rows without outcomes, where every target seen in training is wanted."""
    found = families([_set("one", "ab"), _set("two", "cd")])
    assert len(used(found, ("a", "b", "c", "d"), alone=True)) == 2
    assert answering(found, ("q",)) == {"q": ()}


def test_prompts_of_the_test_set_leave_training() -> None:
    """A row cannot be learned and then asked."""
    family = families([_set("one", "ab", 3)])[0]
    assert [row.prompt for row in family.without({"one 1"}).rows] == ["one 0", "one 2"]
