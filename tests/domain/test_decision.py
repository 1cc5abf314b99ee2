"""A decision made again, and the encodings it shares."""

from __future__ import annotations

from dataclasses import fields, replace

import orjson

from llmrouter.api.request_parser import encode_decision as encode_public
from llmrouter.domain.decision import Decision, StageTrace
from llmrouter.domain.serialization import decode_decision, encode_decision
from tests.fakes import a_decision

NOTES = (StageTrace("rules", "abstained"), StageTrace("session", "decided", ms=0.1))


def again(decision: Decision) -> Decision:
    """The decision once more."""
    return decision.again("d-2", 9.5, NOTES, 17.25)


def test_made_again_it_differs_in_id_times_and_notes_alone() -> None:
    """Every other field is the first one's, whatever fields there are."""
    first = a_decision("small", "large", tenant="t", cascade=True, propensity=0.5)
    second = again(first)
    own = {"decision_id": "d-2", "timing_ms": 9.5, "stages": NOTES, "created_at": 17.25}
    assert second == replace(first, **own)
    assert {f.name for f in fields(Decision) if f.init and f.name not in own} <= {
        f.name for f in fields(Decision) if getattr(first, f.name) == getattr(second, f.name)
    }


def test_shared_encodings_are_those_of_each_decision() -> None:
    """Whichever is encoded first, each one's bytes say what the decision says."""
    first = a_decision("small", "large", reason='said "so", 100%')
    second = again(first)
    for decision in (second, first, again(second)):
        assert orjson.loads(encode_public(decision)) == decision.public()
        assert list(orjson.loads(encode_public(decision))) == list(decision.public())
        assert decode_decision(encode_decision(decision)) == decision


def test_a_changed_decision_shares_nothing() -> None:
    """`replace` starts afresh: an encoding never outlives the fields it was made from."""
    first = a_decision("small")
    encode_public(first), encode_decision(first)
    changed = replace(first, target="large")
    assert orjson.loads(encode_public(changed))["target"] == "large"
    assert decode_decision(encode_decision(changed)) == changed
