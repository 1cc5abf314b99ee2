"""Journal entries become rows with what was judged, and no more."""

from typing import Any

from llmrouter.journal.export import rows


def _decision(name: str, **over: Any) -> dict[str, Any]:
    plain = {
        "kind": "decision",
        "decision_id": name,
        "source": "llm",
        "target": "small",
        "task": "code",
        "eligible": ["small", "large"],
        "prompt": f"text of {name}",
    }
    return plain | over


def _feedback(name: str, score: float, **over: Any) -> dict[str, Any]:
    return {"kind": "feedback", "decision_id": name, "target": "small", "score": score} | over


def test_feedback_grades_what_answered_and_what_was_preferred() -> None:
    """-1..1 becomes 0..1, several grades are averaged."""
    told = [_decision("a"), _feedback("a", -1.0, preferred="large"), _feedback("a", 0.0)]
    assert rows(told) == [
        {
            "id": "a",
            "task": "code",
            "prompt": "text of a",
            "outcomes": {"small": 0.25, "large": 1.0},
            "costs": {},
        }
    ]


def test_a_rejected_attempt_failed_and_its_cost_is_kept() -> None:
    """The attempt that was served is not graded by being served; one that broke tells nothing."""
    attempts = [
        {"target": "small", "outcome": "rejected", "cost_usd": 0.1},
        {"target": "mid", "outcome": "failed", "cost_usd": 0.0},
        {"target": "large", "outcome": "ok", "cost_usd": 0.5},
    ]
    (row,) = rows([_decision("a"), {"kind": "outcome", "decision_id": "a", "attempts": attempts}])
    assert row["outcomes"] == {"small": 0.0}
    assert row["costs"] == {"small": 0.1, "large": 0.5}


def test_labels_only_where_asked_for_and_only_of_the_router_llm() -> None:
    """Feedback overrules the label of the target it is about."""
    told = [_decision("a"), _decision("b", source="rules"), _feedback("a", -0.5)]
    plain, labelled = rows(told), rows(told, labels=True)
    assert [row["outcomes"] for row in plain] == [{"small": 0.25}, {}]
    assert [row["outcomes"] for row in labelled] == [{"small": 0.25, "large": 0.0}, {}]


def test_without_recorded_text_there_is_no_row() -> None:
    """Nor for feedback whose decision was cut off the journal's beginning."""
    silent = _decision("a")
    del silent["prompt"]
    assert rows([silent, _feedback("a", 1.0), _feedback("gone", 1.0)]) == []
