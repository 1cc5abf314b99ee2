"""The page is one file, escapes what it shows, and draws what it was given."""

import re
from dataclasses import replace

from llmrouter.evaluation.benchmark.html import document, page
from llmrouter.evaluation.benchmark.metrics import Interval
from llmrouter.evaluation.benchmark.plot import Axis, Mark, Plot, PlotLine, svg, ticks
from llmrouter.evaluation.benchmark.results import (
    CurveResult,
    FitSpread,
    Noise,
    Point,
    PolicyResult,
    Report,
    SetResult,
    Single,
)

HALF = Interval(0.5, 0.4, 0.6)


def _report(name: str) -> Report:
    policy = PolicyResult("always-best", name, HALF, HALF, HALF, HALF, 1.0, False)
    points = tuple(Point(float(p), 0.5 + p / 10, 0.4, 0.7, 1.0 + p) for p in range(3))
    curve = CurveResult(f"learned {name}", points, *[HALF] * 8)
    one = SetResult(
        name=name,
        rows=3,
        protocol="fitted",
        unit="USD",
        cost_source="recorded",
        reference=name,
        reference_score=0.5,
        reference_cost=1.0,
        oracle_gap=0.1,
        singles=(Single(name, 0.5, 0.5, 2.0),),
        policies=(policy,),
        curves=(curve,),
        pairs=(),
        notes=(f"mind {name}",),
    )
    return Report((one,), 0, 10)


def test_text_from_files_is_escaped() -> None:
    """A target's name cannot become markup."""
    found = page(_report("<script>alert(1)</script>"))
    assert "<script" not in found
    assert "&lt;script&gt;" in found


def test_every_curve_and_kind_of_mark_has_a_colour_of_its_own() -> None:
    """Five curves at most; the legend says which is which."""
    report = _report("x")
    curve = report.sets[0].curves[0]
    several = tuple(replace(curve, policy=f"learned {n}") for n in range(7))
    found = page(Report((replace(report.sets[0], curves=several),), 0, 10))
    styles = re.findall(r'<i class="(\w) ?\w*"', found[found.index('class="legend"') :])
    assert len(styles) == len(set(styles)) == 7
    assert all(f"--{style}:" in found for style in styles)


def test_the_page_needs_nothing_else() -> None:
    """No link, script, image or import; both colour schemes."""
    found = page(_report("set"))
    assert not any(part in found for part in ("<link", "<script", "<img", "@import", "url("))
    assert "prefers-color-scheme: dark" in found


def test_the_page_says_how_far_figures_vary() -> None:
    """The noise of a draw, the fits' spread, the averaged saving, the score at a fixed price."""
    plain = _report("set")
    spread = (FitSpread("score at best", 3, 0.641, 0.632, 0.653),)
    told = replace(plain.sets[0], noise=Noise(896, 0.016, 0.011), spread=spread)
    found = page(Report((told,), 0, 10))
    assert "between draws of 896 rows the score at best varies by 0.016" in found
    assert "3 fits that differ in their seed alone" in found
    assert all(f"<td>{value}</td>" in found for value in ("0.641", "0.632", "0.653"))
    assert "average, 0 to 2 points" in found
    assert "score at fixed price" in found
    assert "fits that differ" not in page(plain)


def test_an_empty_report_says_so() -> None:
    """A page without sets is still a page."""
    assert "No row had outcomes" in page(Report((), 0, 10))
    assert document("a & b", "").count("<title>a &amp; b</title>") == 1


def test_points_land_where_they_belong() -> None:
    """The lowest corner of the data is the lowest corner of the plot."""
    plot = Plot(
        "t",
        Axis("x", 0, 10),
        Axis("y", 0, 1),
        [PlotLine("l", [0, 10], [0, 1], "a")],
        [Mark("low", 0, 0, "c"), Mark("hidden", 5, -3, "c")],
    )
    drawn = svg(plot)
    assert 'points="62.0,382.0 836.0,18.0"' in drawn
    assert 'cx="62.0" cy="382.0"' in drawn
    assert "hidden" not in drawn


def test_ticks_are_round_and_inside() -> None:
    """Between four and seven or so round numbers, also for tiny and empty spans."""
    assert ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
    assert all(0.61 <= tick <= 0.67 for tick in ticks(0.61, 0.67))
    assert ticks(3.0, 3.0) == [3.0]
