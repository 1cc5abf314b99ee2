"""The report as one self-contained page: per set, the score-cost plot and the tables.

The page has no script, loads nothing, follows the reader's light or dark preference, and escapes
all text from data files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from llmrouter.evaluation.benchmark.plot import Axis, Mark, Plot, PlotLine, svg
from llmrouter.evaluation.benchmark.report import bounds, figure, money, noise, percent, signed
from llmrouter.evaluation.benchmark.results import FIXED_PRICE, CurveResult, Report, SetResult

STYLE = """
:root { color-scheme: light dark; --paper:#fbfbf9; --card:#fff; --ink:#1d2433; --soft:#5b6475;
  --faint:#e4e6ea; --a:#2457c5; --b:#b4560c; --c:#6a7385; --d:#0d7d63; --e:#8a3fa0;
  --f:#b08900; --g:#0891b2; }
@media (prefers-color-scheme: dark) { :root { --paper:#12151b; --card:#1a1f28; --ink:#e6e9ef;
  --soft:#9aa4b5; --faint:#2c333f; --a:#7ea6ff; --b:#f0a35e; --c:#8b95a7; --d:#4fc9a4;
  --e:#cf94e3; --f:#b08900; --g:#0891b2; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--paper); color:var(--ink); line-height:1.5;
  font:15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 0 0 2px; }
h3 { font-size: 14px; margin: 24px 0 6px; }
p { margin: 0 0 8px; } .soft, figcaption { color: var(--soft); font-size: 13.5px; }
section { background:var(--card); border:1px solid var(--faint); border-radius:10px;
  padding:22px 24px; margin-top:22px; }
figure { margin: 14px 0 4px; } svg { width:100%; height:auto; display:block; }
.scroll { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-size:13.5px; white-space:nowrap; }
th, td { padding:5px 14px 5px 0; border-bottom:1px solid var(--faint); text-align:right; }
td { vertical-align:top; } td small { display:block; color:var(--soft); font-size:11.5px;
  line-height:1.3; } th { color:var(--soft); font-weight:500; }
td.how { color:var(--soft); font-size:12.5px; white-space:normal; min-width:150px; }
td:first-child { white-space:normal; overflow-wrap:anywhere; min-width:150px; }
th:first-child, td:first-child, th.how, td.how { text-align:left; }
td { font-variant-numeric: tabular-nums; }
.note { border-left:3px solid var(--b); padding-left:10px; font-size:13.5px; margin-top:10px; }
.legend { display:flex; flex-wrap:wrap; gap:4px 18px; font-size:13px; color:var(--soft); }
.legend i { display:inline-block; width:18px; height:0; border-top:3px solid; margin-right:6px;
  vertical-align:middle; } .legend i.dot { width:9px; height:9px; border:0; border-radius:50%; }
.grid { stroke:var(--faint); } .tick, .axis { fill:var(--soft); font-size:12px; }
.rule { stroke:var(--soft); stroke-dasharray:4 4; } .rule-label { fill:var(--soft); }
.line { fill:none; stroke-width:2; stroke-linejoin:round; } .band { opacity:.14; stroke:none; }
.label, .rule-label { font-size:12px; paint-order:stroke; stroke:var(--card); stroke-width:3px; }
.mark { stroke:var(--card); stroke-width:1.5; }
.line.a { stroke:var(--a); stroke-width:2.6; } .line.b { stroke:var(--b); }
.line.c { stroke:var(--c); stroke-dasharray:5 4; } .line.d { stroke:var(--d); }
.line.e { stroke:var(--e); } .line.f { stroke:var(--f); } .line.g { stroke:var(--g); }
.a { fill:var(--a); } .b { fill:var(--b); } .c { fill:var(--c); } .d { fill:var(--d); }
.e { fill:var(--e); } .f { fill:var(--f); } .g { fill:var(--g); } .line { fill:none; }
i.a { color:var(--a); } i.b { color:var(--b); } i.c { color:var(--c); } i.d { color:var(--d); }
i.e { color:var(--e); } i.f { color:var(--f); } i.g { color:var(--g); }
i.dot { background:currentColor; }
"""


def page(report: Report) -> str:
    """The whole document."""
    sections = "\n".join(_section(one) for one in report.sets)
    empty = '<section><p class="soft">No row had outcomes to evaluate.</p></section>'
    body = f"""<h1>Routing policies on recorded outcomes</h1>
<p class="soft">Brackets and bands: 95% bootstrap intervals, {report.draws} paired draws, seed
{report.seed}. Decisions use training data alone; scores and costs are those realised.</p>
{sections or empty}"""
    return document("llmrouter eval", body)


def document(title: str, body: str) -> str:
    """A page with this package's style."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body><main>{body}</main></body></html>
"""


def _section(one: SetResult) -> str:
    said = (*noise(one), *one.notes)
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in said)
    unit = "USD" if one.unit == "USD" else one.unit
    return f"""<section><h2>{escape(one.name)}</h2>
<p class="soft">{one.rows:,} rows; {escape(one.protocol)}; cost in {escape(unit)}
({escape(one.cost_source)})</p>
{_figure(one)}{_policy_table(one)}{_curve_table(one)}{_pair_table(one)}{_spread_table(one)}
{notes}</section>"""


def _figure(one: SetResult) -> str:
    scale = 1000.0 if one.unit == "USD" else 1.0
    lines, legend = [], []
    for curve, style in zip(_plotted(one), ("a", "b", "e", "f", "g"), strict=False):
        points = sorted(curve.points, key=lambda point: -point.price)
        lines.append(
            PlotLine(
                curve.policy,
                [p.cost * scale for p in points],
                [p.score for p in points],
                style,
                ([p.low for p in points], [p.high for p in points]) if style == "a" else None,
            )
        )
        legend.append((style, curve.policy, ""))
    marks = [
        Mark(s.target, s.cost * scale, s.score, "c", f"{s.score:.3f}")
        for s in sorted(one.singles, key=lambda s: -s.score)
    ]
    for policy in one.policies:
        if policy.name in ("rules", "random") or policy.name.startswith("cascade"):
            cost, score = policy.cost.value * scale, policy.score.value
            marks.append(Mark(policy.name, cost, score, "d", f"{score:.3f}"))
    legend += [("c", "one target for everything", "dot"), ("d", "other policies", "dot")]
    best = next((p for p in one.policies if p.name == "oracle"), None)
    rules = [(one.reference_score, f"always-best: {one.reference_score:.3f}")]
    highs = [max(line.y) for line in lines] + [one.reference_score]
    lows = [min(line.y) for line in lines] + [
        p.score.value for p in one.policies if p.name in ("random", "rules")
    ]
    top, bottom = max(highs), min(lows)
    if best is not None:
        top = max(top, best.score.value)
        rules.append((best.score.value, f"oracle: {best.score.value:.3f}"))
    margin = max((top - bottom) * 0.08, 0.005)
    dearest = max([0.0, *(s.cost * scale for s in one.singles), *(max(ln.x) for ln in lines)])
    right = dearest * 1.06 or 1.0
    title = "USD per 1,000 requests" if one.unit == "USD" else f"cost: {one.unit}"
    kind = "dollars" if one.unit == "USD" else "number"
    plot = Plot(
        f"Score against cost on {one.name}",
        Axis(title, 0.0, right, kind),
        Axis("mean score", bottom - margin, top + margin),
        lines,
        marks,
        rules,
    )
    below = [m for m in marks if m.y < bottom - margin]
    hidden = ", ".join(f"{m.label} {m.y:.3f}" for m in below)
    caption = f"<figcaption>Below the plot: {escape(hidden)}</figcaption>" if hidden else ""
    keys = "".join(
        f'<span><i class="{style} {shape}"></i>{escape(name)}</span>'
        for style, name, shape in legend
    )
    return f'<div class="legend">{keys}</div><figure>{svg(plot)}{caption}</figure>'


def _plotted(one: SetResult) -> list[CurveResult]:
    """The learned curves first, then their cascades; plain baselines stay in the table."""
    mine = [c for c in one.curves if c.policy.startswith("learned")]
    return sorted(mine, key=lambda c: "cascade" in c.policy)[:5]


def _policy_table(one: SetResult) -> str:
    cost = "per 1k requests" if one.unit == "USD" else one.unit
    heads = ("policy", "score", escape(cost), "saved", "gained", "how")
    rows = [
        (
            escape(p.name) + (" *" if p.sees_test else ""),
            _both(figure(p.score.value), bounds(p.score)),
            money(p.cost.value, one.unit),
            percent(p.saving.value),
            _both(signed(p.gain.value), bounds(p.gain, signs=True)),
            escape(p.detail) + (f"; {p.known:.0%} recorded" if p.known < 1 else ""),
        )
        for p in one.policies
    ]
    star = any(p.sees_test for p in one.policies)
    foot = "* decides by the outcomes evaluated: a bound, not a policy" if star else ""
    return _table(f"Saved and gained: against always {escape(one.reference)}", heads, rows, foot)


def _curve_table(one: SetResult) -> str:
    saved = "saved at equal score", "within one point", "average, 0 to 2 points"
    fixed = "score at fixed price"
    heads = ("policy", "score at best", "over neighbours", "area", *saved, fixed, "gap")
    rows = [
        (
            escape(c.policy),
            _both(figure(c.top.value), bounds(c.top)),
            _both(signed(c.lead.value), bounds(c.lead, signs=True)),
            _both(figure(c.area.value), bounds(c.area)),
            _both(percent(c.saving_equal.value), bounds(c.saving_equal, share=True)),
            _both(percent(c.saving_point.value), bounds(c.saving_point, share=True)),
            _both(percent(c.saving_average.value), bounds(c.saving_average, share=True)),
            _both(figure(c.fixed.value), bounds(c.fixed)),
            percent(c.oracle_share.value),
        )
        for c in one.curves
    ]
    foot = (
        "Read off the rows evaluated, so slightly kind. Area: mean score over costs from the "
        "cheapest target's to always-best's. What is saved at an equal score jumps with a single "
        "row; its average over 0 to 2 points below does not. Fixed price: "
        f"{FIXED_PRICE} of quality for the dearest target's cost. Gap: how far the score at best "
        "goes from always-best to the oracle."
    )
    return _table("Whole range of the dial", heads, rows, foot) if rows else ""


def _pair_table(one: SetResult) -> str:
    if not one.pairs:
        return ""
    heads = ("policy", "APGR", "CPT(50%)", "CPT(80%)")
    rows = [
        (
            escape(p.policy),
            _both(figure(p.apgr.value), bounds(p.apgr)),
            _both(percent(p.cpt50.value), bounds(p.cpt50, share=True)),
            _both(percent(p.cpt80.value), bounds(p.cpt80, share=True)),
        )
        for p in one.pairs
    ]
    strong, weak = escape(one.pairs[0].strong), escape(one.pairs[0].weak)
    title = f"{strong} over {weak}, as RouteLLM measures"
    return _table(title, heads, rows, "Chance has an APGR of 0.5.")


def _spread_table(one: SetResult) -> str:
    heads = ("figure", "mean", "least", "most")
    rows = [
        (escape(part.figure), figure(part.mean), figure(part.low), figure(part.high))
        for part in one.spread
    ]
    if not rows:
        return ""
    foot = "The bootstrap intervals above do not hold this."
    return _table(f"{one.spread[0].fits} fits that differ in their seed alone", heads, rows, foot)


def _both(value: str, interval: str) -> str:
    return f"{value}<small>{interval}</small>" if interval else value


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], foot: str = "") -> str:
    """A table of already escaped cells; a column headed `how` is prose."""
    shapes = [' class="how"' if head == "how" else "" for head in heads]
    head = "".join(f"<th{s}>{cell}</th>" for s, cell in zip(shapes, heads, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{s}>{cell}</td>" for s, cell in zip(shapes, row, strict=True))
        + "</tr>"
        for row in rows
    )
    note = f'<p class="soft">{foot}</p>' if foot else ""
    return (
        f'<h3>{title}</h3><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{note}"
    )
