// Learning: who is trusted with what, how probabilities came true, what got worse, and the way back.

import {get, latest, post} from "./api.js";
import {colour} from "./chart.js";
import {bar, card, h, pill, replace, table} from "./dom.js";
import {count, percent, short, usd, words} from "./format.js";
import {reliabilityPlot, spark} from "./plot.js";
import {toast} from "./toast.js";
import {confirming, failure} from "./widgets.js";

export function mount(root, {me, every}) {
  const run = latest(), said = h("div"), body = h("div", {class: "page"});

  async function load() {
    try {
      const got = await run(signal => Promise.all([get("learning", {signal}), get("stats", {signal})]));
      if (!got) return;
      replace(said);
      replace(body, draw(...got.value));
    } catch (error) {
      replace(said, failure(error));
    }
  }

  async function rollBack() {
    try {
      const back = await post("learning/rollback");
      toast(`The model of ${count(back.learned)} examples serves again.`);
      await load();
    } catch (error) {
      replace(said, failure(error));
    }
  }

  function draw(learning, stats) {
    return [
      h("div", {class: "grid"}, model(learning, stats, me.admin ? confirming("Roll back", "Go back to the model before", rollBack) : null),
        card("Asking the router LLM", null, asking(stats))),
      card("Trust, by task", null, trust(learning)),
      h("div", {class: "grid small"}, curves(learning, stats)),
      card("What got worse", null, drift(stats.today_and_last_week)),
      Object.keys(stats.shadow).length ? card("Strategies alongside", null, shadows(stats.shadow)) : null,
    ];
  }

  replace(root, h("h1", null, "Learning"), said, body);
  every(10, () => !body.contains(document.activeElement) && load());
  void load();
}

const fact = (name, value) => h("div", null, h("dt", null, name), h("dd", null, value));

function model(learning, stats, back) {
  const learned = stats.by_source.learned ?? 0;
  return card("The model", null,
    h("p", null, learning.serving ? `A model of ${count(learning.fitted_on)} examples serves.`
      : `No model serves yet: the first is fitted on ${count(learning.next_fit_at)} examples.`),
    h("dl", {class: "facts"}, fact("examples held", count(learning.held)), fact("learned in all", count(learning.learned)),
      fact("next fit at", count(learning.next_fit_at)), fact("answers by it", `${count(learned)} (${percent(learned / (stats.decisions || 1))})`),
      fact("asked again, the router LLM agrees with itself", percent(learning.teacher_consistency))),
    back && h("div", {class: "bar"}, back));
}

function asking(stats) {
  const worth = stats.judging.worth_asking ?? {};
  return [
    h("dl", {class: "facts"}, fact("asked", count(worth.asked)), fact("calls", short(stats.router_calls)),
      fact("spent on it", usd(stats.router_spend_usd)), fact("skips checked", count(worth.audited_skips)),
      fact("lost by a skip, on average", worth.mean_regret === null || worth.mean_regret === undefined ? "–" : short(worth.mean_regret))),
    h("p", null, "Not asked because of: ", Object.entries(worth.skipped ?? {}).map(([why, n]) => [pill(`${words(why)} ${count(n)}`), " "]),
      Object.keys(worth.skipped ?? {}).length ? "" : "nothing yet"),
  ];
}

function trust({tasks, target_agreement}) {
  return [
    h("p", {class: "soft"}, `The model answers a task alone from the confidence on at which ${percent(target_agreement, 0)} of its choices agree with the router LLM's; below it abstains.`),
    table("Trust by task", [
      {title: "task", of: ([task]) => task, cls: "strong"},
      {title: "state", of: ([, one]) => one.threshold === null ? pill("abstains") : pill(`from ${percent(one.threshold, 0)}`, "good")},
      {title: "agreement", of: ([, one]) => one.agreed === null ? "–" : bar(one.agreed, percent(one.agreed))},
      {title: "above its threshold", num: true, of: ([, one]) => percent(one.agreed_above)},
      {title: "comparisons", num: true, of: ([, one]) => count(one.comparisons)},
      {title: "answered", num: true, of: ([, one]) => count(one.answered)},
      {title: "audited", num: true, of: ([, one]) => percent(one.audit_share, 0)},
      {title: "newest audits", num: true, of: ([, one]) => one.audits ? `${count(one.audits_agreed)} of ${count(one.audits)} agreed` : "–"},
    ], Object.entries(tasks), "Nothing was compared yet: it learns from what the router LLM says."),
  ];
}

function curves(learning, stats) {
  const shown = Object.entries(stats.judging.judges ?? {}).map(([judge, targets]) => {
    const drawn = Object.entries(targets).map(([name, one], n) => ({name, colour: colour(n), bins: one.curve, ...one}));
    return curveCard(judge === "none" ? "Without a judge" : judge, drawn);
  });
  if (learning.curve?.length) {
    shown.push(curveCard("The model's confidence", [{name: "all tasks", colour: colour(0), bins: learning.curve,
      outcomes: learning.curve.reduce((sum, [,, n]) => sum + n, 0), calibration_error: null}]));
  }
  return shown.length ? shown : card("Reliability", null, h("p", {class: "soft"}, "No outcomes yet: feedback and verified answers grade probabilities."));
}

function curveCard(title, drawn) {
  return card(`Reliability: ${title}`, null, h("p", {class: "soft"}, "What was expected, across; what came true, up. On the line is right."),
    reliabilityPlot(`Reliability of ${title}`, drawn),
    h("ul", {class: "legend"}, drawn.map(one => h("li", null, h("span", {class: "swatch", vars: {"--c": one.colour}}), one.name))),
    h("details", null, h("summary", null, "As a table"), table(`Calibration of ${title}`, [
      {title: "target", of: one => one.name, cls: "strong"}, {title: "outcomes", num: true, of: one => count(one.outcomes)},
      {title: "mean grade", num: true, of: one => percent(one.mean_grade)}, {title: "off by", num: true, of: one => percent(one.calibration_error)},
      {title: "uncalibrated", num: true, of: one => percent(one.uncalibrated_error)},
    ], drawn)));
}

function drift(tasks) {
  const rows = Object.entries(tasks).flatMap(([task, targets]) => Object.entries(targets).map(([target, one]) => ({task, target, ...one})));
  rows.sort((a, b) => b.falls.length - a.falls.length || b.now.requests - a.now.requests);
  const fallen = rows.filter(one => one.falls.length).length;
  return [
    h("p", null, fallen ? h("strong", {class: "bad"}, `${fallen} fell beyond chance.`) : "Nothing fell beyond chance, today against last week or week against week."),
    driftTable("Today and last week", rows.slice(0, 15)),
    rows.length > 15 && h("details", null, h("summary", null, `${rows.length - 15} more`), driftTable("The rest", rows.slice(15))),
  ];
}

function driftTable(label, rows) {
  return table(label, [
      {title: "task", of: one => one.task}, {title: "target", of: one => one.target, cls: "strong"},
      {title: "requests today", num: true, of: one => count(one.now.requests)},
      {title: "quality today", num: true, of: one => percent(one.now.quality, 0)}, {title: "last week", num: true, of: one => percent(one.before.quality, 0)},
      {title: "taken today", num: true, of: one => percent(one.now.acceptance, 0)}, {title: "last week", num: true, of: one => percent(one.before.acceptance, 0)},
      {title: "quality a day", of: one => spark(one.daily_quality)},
      {title: "fell", cls: "wrap", of: one => one.falls.length ? one.falls.map(fall => pill(`${fall.what} ${percent(fall.before, 0)} → ${percent(fall.now, 0)}`, "bad")) : "–"},
  ], rows, "No traffic yet.");
}

function shadows(all) {
  return table("Strategies alongside", [
    {title: "strategy", of: ([name]) => name, cls: "strong"},
    {title: "outcomes", of: ([, one]) => h("span", {class: "pills"}, Object.entries(one.outcomes ?? {}).map(([word, n]) => pill(`${word} ${count(n)}`)))},
    {title: "a request", num: true, of: ([, one]) => usd(one.usd_per_request)}, {title: "live", num: true, of: ([, one]) => usd(one.live_usd_per_request)},
    {title: "quality", num: true, of: ([, one]) => percent(one.estimated_quality)}, {title: "live", num: true, of: ([, one]) => percent(one.live_estimated_quality)},
    {title: "itself", num: true, of: ([, one]) => usd(one.own_usd)},
  ], Object.entries(all));
}
