"""An evaluation on a terminal: within 80 columns and the score first."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from llmrouter.evaluation.benchmark.metrics import Interval
from llmrouter.evaluation.benchmark.report import WIDE, headline, show
from llmrouter.evaluation.benchmark.results import (
    CurveResult,
    PairResult,
    PolicyResult,
    Report,
    SetResult,
)


def about(value: float) -> Interval:
    """A figure and its interval."""
    return Interval(value, value - 0.05, value + 0.05)


NAME = "learned (hashing), dial set on train, −1 pt"
POLICIES = (
    PolicyResult(
        NAME,
        "1 point below the best single",
        about(0.86),
        about(0.0007),
        about(0.2),
        about(-0.005),
        0.9,
        False,
    ),
    PolicyResult(
        "oracle", "knows every outcome", about(0.93), about(0.0), about(0.7), about(0.07), 1.0, True
    ),
)
CURVE = CurveResult(NAME, (), *(about(0.1 * n) for n in range(1, 9)))
PAIR = PairResult(NAME, "gpt-4-1106", "mixtral-8x7b", about(0.6), about(0.3), about(0.6))
ONE = SetResult(
    "gsm8k-pair.dev",
    1198,
    "5-fold cross-validation on the test file",
    "USD",
    "recorded",
    "gpt-4-1106",
    0.869,
    0.001,
    0.06,
    (),
    POLICIES,
    (CURVE,),
    (PAIR,),
    ("a note that is long enough to need more than one line of eighty columns, as notes are",),
)


def shown(width: int) -> list[str]:
    """The report's lines on a terminal of that width."""
    out = io.StringIO()
    show(Report((ONE,), 0, 1000), Console(file=out, width=width, highlight=False))
    return out.getvalue().splitlines()


def test_it_is_readable_at_80_columns_with_the_score_first() -> None:
    """The score opens the report and every row of its tables; no figure is cut off."""
    lines = shown(80)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("score 0.100 [0.050, 0.150]: learned (hashing)")
    assert any(line.split()[:1] == ["0.860"] and "$0.7000" in line for line in lines)
    assert not any("…" in line for line in lines)
    assert "--json has every" in " ".join(lines)


def test_a_wide_terminal_gets_every_interval() -> None:
    """Beside the figures that they are of."""
    narrow, wide = ("\n".join(shown(width)) for width in (80, WIDE))
    assert "[-0.055, +0.045]" in wide
    assert "[-0.055, +0.045]" not in narrow


@pytest.mark.parametrize("policies", [POLICIES, ()])
def test_without_a_dial_the_best_policy_leads(policies: tuple[PolicyResult, ...]) -> None:
    """A bound is no policy, and no policy is no score."""
    from dataclasses import replace

    said = headline(replace(ONE, curves=(), policies=policies))
    assert said.startswith("score 0.860" if policies else "gsm8k-pair.dev, 1,198 rows")
