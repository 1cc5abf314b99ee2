"""What people see of trust."""

from __future__ import annotations

import pytest

from llmrouter.learning.trust.abstention_threshold import Windows
from llmrouter.learning.trust.trust_report import trust_report


def test_a_task_is_told_with_its_threshold_agreement_and_audits() -> None:
    """One that is trusted and one that abstains; the curve is over both."""
    windows = Windows(0.8)
    for number in range(200):
        windows.observe("sums", 0.95, number % 50 != 0, audited=number % 10 == 0, key=f"k{number}")
        windows.observe("poems", 0.45, number % 2 == 0)
    for _ in range(5):
        windows.trusts("sums", 0.97)
    shown = trust_report(windows)
    sums, poems = shown["tasks"]["sums"], shown["tasks"]["poems"]
    assert sums["threshold"] is not None
    assert sums["agreed"] == pytest.approx(0.98)
    assert (sums["audits"], sums["answered"], sums["comparisons"]) == (20, 5, 200)
    assert 0.0 < sums["audit_share"] < 1.0
    assert (poems["threshold"], poems["agreed_above"], poems["audits"]) == (None, None, 0)
    assert shown["curve"] == [
        (pytest.approx(0.45), pytest.approx(0.5), 200),
        (pytest.approx(0.95), pytest.approx(0.98), 200),
    ]


def test_nothing_compared_says_nothing() -> None:
    """Neither tasks nor a curve."""
    assert trust_report(Windows(0.9)) == {"target_agreement": 0.9, "tasks": {}, "curve": []}
