// The story of one decision: what was asked, who could serve, who decided, what came of it.

import {bar, copyable, h, pill, table} from "./dom.js";
import {ago, count, ms, percent, usd, when, words} from "./format.js";
import {feedbackForm} from "./feedback.js";

/** A decision as `/decisions/{id}` tells it. `back` leads to the list, `again` reads it once more. */
export function storyOf(one, {back, again}) {
  const execution = one.execution;
  const ended = execution === null ? pill("not executed")
    : execution.attempts.some(a => a.outcome === "ok") ? pill("answered", "good") : pill("failed", "bad");
  return h("article", {class: "story", "aria-labelledby": "story-title"},
    h("div", {class: "story-head"},
      h("a", {href: back, class: "back"}, "← All decisions"),
      h("h2", {id: "story-title", tabindex: -1}, one.target),
      h("div", {class: "pills"}, pill(`by ${one.source}`, "accent"), ended, one.cascade && pill("cascade"),
        one.about?.arm && pill(`${one.about.arm} catalog`, "warn"), one.propensity < 1 && pill(`explored, ${percent(one.propensity)}`, "warn")),
      h("p", {class: "lead"}, one.reason),
      h("p", {class: "soft"}, `${when(one.created_at)}, ${ago(one.created_at)} · `, copyable(one.decision_id))),
    h("ol", {class: "steps"},
      step("Asked", asked(one)),
      step("Who could serve", served(one)),
      step("How it was decided", decided(one)),
      one.alternatives?.length ? step("What each target is worth", worth(one)) : null,
      step("What happened", happened(one)),
      step("What it was worth", rated(one, again))),
    h("details", {class: "raw"}, h("summary", null, "As JSON"), h("pre", {tabindex: 0}, JSON.stringify(one, null, 2))));
}

const step = (title, ...children) => h("li", {class: "step"}, h("h3", null, title), children);

function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== "–");
  return h("dl", {class: "facts"}, known.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

function asked(one) {
  const about = one.about ?? {}, options = about.asked ?? {};
  const shown = Object.entries(options).filter(([name, value]) => !(name === "strategy" && value === "auto"))
    .map(([name, value]) => [words(name), Array.isArray(value) ? value.join(", ") || "none" : String(value)]);
  return [
    one.prompt ? h("pre", {class: "prompt", tabindex: 0}, one.prompt) : null,
    facts([["task", one.task], ["key", about.key], ["input", about.input_tokens !== undefined ? `${count(about.input_tokens)} tokens` : null],
      ["output, at most", about.output_tokens !== undefined ? `${count(about.output_tokens)} tokens` : null],
      ["turns", about.turns], ["language", about.language === "und" ? null : about.language],
      ["needs", about.needs?.length ? about.needs.join(", ") : "nothing special"], ...shown]),
  ];
}

export function served(one) {
  const eligible = [one.target, ...(one.fallbacks ?? [])];
  return [
    h("p", null, `${eligible.length} of ${eligible.length + (one.excluded?.length ?? 0)} targets fitted.`),
    one.excluded?.length ? table("Targets that were out", [
      {title: "out", of: row => row.target, cls: "strong"}, {title: "why", of: row => row.reason, cls: "wrap"},
    ], one.excluded) : null,
  ];
}

function decided(one) {
  const stages = one.stages ?? [];
  const longest = Math.max(...stages.map(s => s.ms), one.timing_ms, 0.001);
  return [
    table("Stages", [
      {title: "stage", of: s => words(s.stage), cls: "strong"},
      {title: "outcome", of: s => pill(s.outcome, {decided: "accent", failed: "bad", timeout: "bad", ineligible: "warn"}[s.outcome] ?? "")},
      {title: "time", of: s => bar(s.ms / longest, ms(s.ms))},
      {title: "said", of: s => s.detail || "–", cls: "wrap"},
    ], stages, "No stage was asked."),
    facts([["deciding took", ms(one.timing_ms)], ["confidence", percent(one.confidence)],
      ["router LLM", one.router_cost_usd ? usd(one.router_cost_usd) : "not paid for"], ["catalog", one.catalog_version],
      ["trace", one.trace_id ? copyable(one.trace_id) : null]]),
  ];
}

export function worth(one) {
  const rows = [...one.alternatives].sort((a, b) => b.score - a.score);
  const scores = rows.map(row => row.score), high = Math.max(...scores), low = Math.min(...scores);
  const share = score => high > low ? (score - low) / (high - low) : 1;
  const place = new Map([one.target, ...(one.fallbacks ?? [])].map((name, n) => [name, n]));
  return table("Probability and utility of every target", [
    {title: "target", of: row => row.target, cls: "strong"},
    {title: "answers well", of: row => row.probability === null ? "–" : bar(row.probability, percent(row.probability, 0))},
    {title: "utility", of: row => bar(share(row.score), row.score.toFixed(3), "muted")},
    {title: "tried", num: true, of: row => place.get(row.target) === 0 ? "first" : place.has(row.target) ? `${place.get(row.target) + 1}.` : "–"},
  ], rows.map(row => ({...row, attributes: {class: row.target === one.target ? "chosen" : null}})));
}

function happened(one) {
  const execution = one.execution, estimate = one.estimate ?? {};
  if (!execution) return [h("p", {class: "soft"}, "It was decided and not executed."),
    facts([["estimate", `${usd(estimate.cost_usd)}, ${ms(estimate.latency_ms)}`]])];
  const longest = Math.max(...execution.attempts.map(a => a.latency_ms), 0.001);
  const checked = execution.attempts.filter(a => a.signals?.length);
  return [
    table("Attempts", [
      {title: "attempt", of: a => a.target, cls: "strong"},
      {title: "outcome", of: a => pill(a.outcome, {ok: "good", failed: "bad", rejected: "warn"}[a.outcome] ?? "")},
      {title: "time", of: a => bar(a.latency_ms / longest, ms(a.latency_ms))},
      {title: "first token", num: true, of: a => ms(a.ttft_ms)},
      {title: "tokens in", num: true, of: a => `${count(a.input_tokens)}${a.cached_tokens ? `, ${count(a.cached_tokens)} cached` : ""}`},
      {title: "out", num: true, of: a => count(a.output_tokens)},
      {title: "cost", num: true, of: a => usd(a.cost_usd)},
      {title: "why", of: a => a.reason || (a.status ? `HTTP ${a.status}` : "–"), cls: "wrap"},
    ], execution.attempts, "No attempt was made."),
    checked.length ? h("p", null, "Verified: ", checked.map(a => [h("strong", null, a.target), ` ${a.signals.join(", ")} `])) : null,
    facts([["answered by", execution.target], ["cost in all", usd(execution.cost_usd + (one.router_cost_usd ?? 0))],
      ["estimated", usd(estimate.cost_usd)], ["took", ms(execution.latency_ms)], ["expected", ms(estimate.latency_ms)],
      ["finished with", execution.finish_reason]]),
  ];
}

function rated(one, again) {
  return [
    table("Feedback", [
      {title: "score", of: f => bar((f.score + 1) / 2, f.score.toFixed(1), f.score >= 0 ? "good" : "bad")},
      {title: "preferred", of: f => f.preferred ?? "–"}, {title: "key", of: f => f.key || "–"},
      {title: "when", of: f => ago(f.at)}, {title: "comment", of: f => f.comment ?? "–", cls: "wrap"},
    ], one.feedback ?? [], "No feedback yet."),
    feedbackForm(one, again),
  ];
}

