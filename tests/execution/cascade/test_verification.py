"""What verification finds wrong with an answer, signal by signal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from llmrouter.domain.catalog import CHECKS as NAMES
from llmrouter.domain.catalog import Acceptance
from llmrouter.execution.cascade.checks import CHECKS
from llmrouter.execution.cascade.verification import (
    Answer,
    Finding,
    Verifier,
    confidence,
    found_good,
    inspect,
    violates_format,
)
from tests.fakes import a_target

VERIFIER = Verifier()


def saying(text: str, **over: Any) -> Answer:
    """An answer with this text."""
    return Answer(a_target(), (), text, over.pop("finish_reason", "stop"), **over)


def accepts_long(text: str, document: Mapping[str, Any]) -> bool | str:
    """An operator's check, loaded by name."""
    return True if len(text) > 3 else f"too short for {document['who']}"


def raises(text: str, document: Mapping[str, Any]) -> bool:
    """An operator's check that is broken."""
    raise RuntimeError(text)


def found(answer: Answer, accept: Acceptance, **document: Any) -> list[str]:
    """The signals that found something."""
    return [finding.signal for finding in inspect(answer, accept, document, VERIFIER)]


def schema(**body: Any) -> dict[str, Any]:
    """A `response_format` with this schema."""
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": body}}


def test_nothing_configured_accepts() -> None:
    """Every signal is off unless set."""
    assert found(saying("anything"), Acceptance()) == []


def test_confidence_needs_log_probabilities() -> None:
    """Without them the signal is silent; with them the mean counts."""
    accept = Acceptance(min_confidence=0.5)
    assert found(saying("x"), accept) == []
    assert found(saying("x", logprobs=(-2.0, -2.0)), accept) == ["confidence"]
    assert found(saying("x", logprobs=(-0.1, -0.3)), accept) == []
    assert confidence(saying("x", logprobs=(-1.0,)), accept, VERIFIER) == math.exp(-1.0)
    assert confidence(saying("x"), accept, VERIFIER) is None


def test_a_margin_counts_alone_where_the_two_likeliest_are_known() -> None:
    """An answer may be likely and still have been close: each signal is switched on alone."""
    close = saying("x", logprobs=(-0.1, -0.1), margins=(0.1, 0.95))
    assert found(close, Acceptance(min_margin=0.5)) == ["margin"]
    assert found(close, Acceptance(min_confidence=0.5)) == []
    assert found(saying("x", logprobs=(-9.0,)), Acceptance(min_margin=0.5)) == []
    both = Acceptance(min_confidence=0.95, min_margin=0.5)
    assert found(close, both) == ["confidence", "margin"]
    for accept, shown in ((both, 0.905), (Acceptance(min_margin=0.5), 0.1), (Acceptance(), 0.905)):
        assert confidence(close, accept, VERIFIER) == pytest.approx(shown, 1e-3)


def test_a_margin_looks_at_the_closest_quarter() -> None:
    """What is sure anyway does not drown the doubt; a single token is the whole of a label."""
    assert saying("B", margins=(0.2,)).readings["margin"] == pytest.approx(0.2)
    prose = saying("x", margins=(0.1, 0.3, *[0.99] * 6))
    assert prose.readings["margin"] == pytest.approx(0.2)


JUDGED = Acceptance(judge=True)
CHECKED = Acceptance(checks=({"min_chars": 1},))
WRONG = [Finding("check", "x")]
UNSURE = [Finding("confidence", "x"), Finding("margin", "x")]


@pytest.mark.parametrize(
    ("findings", "accept", "over", "good"),
    [
        ([], CHECKED, {}, True),
        (UNSURE, CHECKED, {}, True),
        (WRONG, CHECKED, {}, False),
        ([*UNSURE, *WRONG], CHECKED, {}, False),
        ([], JUDGED, {"asked": True}, True),
        ([], JUDGED, {"asked": False}, None),
        ([Finding("judge", "x")], JUDGED, {"asked": True}, False),
        ([], Acceptance(samples=3), {"asked": False}, None),
        ([], Acceptance(), {"formatted": True}, True),
        ([], Acceptance(), {}, None),
        ([], Acceptance(schema=False), {"formatted": True}, None),
        (UNSURE, Acceptance(min_confidence=0.5), {}, None),
    ],
)
def test_an_outcome_is_what_the_other_signals_found(
    findings: list[Finding], accept: Acceptance, over: dict[str, bool], good: bool | None
) -> None:
    """Confidence is never its own evidence, and where nobody could tell there is no outcome."""
    how = {"asked": False, "formatted": False, **over}
    assert found_good(findings, accept, saying("x"), **how) is good


def test_a_tool_call_that_nothing_rejected_has_no_outcome() -> None:
    """No signal has read it."""
    call = saying("", finish_reason="tool_calls")
    assert found_good([], CHECKED, call, asked=False, formatted=False) is None


@pytest.mark.parametrize(
    ("text", "response_format", "words"),
    [
        ('{"n": 1}', {"type": "json_object"}, None),
        ("[1]", {"type": "json_object"}, "not a JSON object"),
        ("no", {"type": "json_object"}, "not valid JSON"),
        ("no", {"type": "text"}, None),
        ("no", "nonsense", None),
        ('{"n": 1}', schema(type="object", required=["n"]), None),
        ('{"m": 1}', schema(type="object", required=["n"]), "violates the schema"),
        ('{"n": "1"}', schema(properties={"n": {"type": "integer"}}), "at n"),
        ('{"n": 1}', schema(type="nonsense"), None),
        ('{"n": 1}', schema(**{"$ref": "http://127.0.0.1:9/schema"}), None),
        ('{"n": 1}', {"type": "json_schema"}, None),
    ],
)
def test_formats_are_held_to_what_the_caller_asked(
    text: str, response_format: object, words: str | None
) -> None:
    """A schema that cannot be used, or would have to be fetched, is not held against the answer."""
    wrong = violates_format(text, response_format)
    assert wrong is None if words is None else words in (wrong or "")


def test_the_schema_signal_can_be_off() -> None:
    """Each signal can be switched off alone."""
    accept = Acceptance(schema=False)
    assert found(saying("no"), accept, response_format={"type": "json_object"}) == []


def test_an_operators_function_decides() -> None:
    """Its reason is the finding; a broken one is seen; an unknown check too."""
    module = __name__
    good = Acceptance(checks=({"python": f"{module}:accepts_long"},))
    assert found(saying("long enough"), good, who="me") == []
    finding = inspect(saying("no"), good, {"who": "me"}, VERIFIER)[0]
    assert finding.detail == "too short for me"
    for broken in (f"{module}:raises", f"{module}:absent", "no_such_module:f"):
        accept = Acceptance(checks=({"python": broken},))
        assert "failed" in inspect(saying("x"), accept, {}, VERIFIER)[0].detail
    assert found(saying("x"), Acceptance(checks=({"magic": 1},))) == ["check"]


def test_language_is_checked_where_it_can_be_told() -> None:
    """A text whose language is unclear is not held against the target."""
    accept = Acceptance(checks=({"language": "de"},))
    assert found(saying("This is the answer to the question and it is not for you."), accept) == [
        "check"
    ]
    assert found(saying("42"), accept) == []


def test_every_check_a_catalog_may_name_exists() -> None:
    """The names users may write are the names that are known here."""
    assert {*CHECKS, "python", "language"} == set(NAMES)


def test_tool_calls_skip_text_checks() -> None:
    """A tool call has no text."""
    accept = Acceptance(checks=({"min_chars": 100},))
    assert found(saying("", finish_reason="tool_calls"), accept) == []
