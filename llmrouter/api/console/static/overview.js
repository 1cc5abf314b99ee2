// Overview: what routing costs and saves, who decides, who answers, and how well, over time.

import {get, latest, query} from "./api.js";
import {colour, timeChart} from "./chart.js";
import {bar, card, h, replace, table} from "./dom.js";
import {count, ms, percent, short, usd} from "./format.js";
import {costPlot} from "./plot.js";
import {failure, segments} from "./widgets.js";

const WINDOWS = [["hour", "Hour"], ["day", "Day"], ["fortnight", "Fortnight"]];
const SOURCES = ["rules", "session", "cache", "learned", "llm", "pinned", "default"];
const SHOWN_TASKS = 6;

export function mount(root, {where, every}) {
  let span = WINDOWS.some(([name]) => name === where.search.get("window")) ? where.search.get("window") : "hour";
  const run = latest(), said = h("div"), tiles = h("dl", {class: "tiles"});
  const spend = timeChart({title: "Spend", sums: true, format: usd});
  const sources = timeChart({title: "Decisions by source", stacked: true, format: short});
  const targets = timeChart({title: "Decisions by target", stacked: true, format: short});
  const latency = timeChart({title: "Latency a target, median", format: ms});
  const tasks = h("div"), perTarget = h("div");
  const state = {all: false, beliefs: null};

  async function load() {
    try {
      const got = await run(signal => Promise.all([
        get(query("stats", {window: span}), {signal}), get(query("stats/series", {window: span}), {signal}),
        get("stats/frontier", {signal}),
      ]));
      if (!got) return;
      replace(said);
      draw(...got.value);
    } catch (error) {
      replace(said, failure(error));
    }
  }

  function draw(stats, series, beliefs) {
    replace(tiles, tilesOf(stats));
    const order = orderOf(stats);
    const at = series.points.map(p => p.at), step = series.step_s;
    const of = pick => series.points.map(pick);
    spend.update({at, step, series: [
      {label: "always the best target", colour: colour(6), values: of(p => p.best_target_spend_usd)},
      {label: "spent", colour: colour(0), filled: true, values: of(p => p.spend_usd)},
      {label: "of it to decide", colour: colour(2), values: of(p => p.router_spend_usd)},
    ]});
    const seen = SOURCES.filter(name => stats.by_source[name]);
    sources.update({at, step, series: seen.map(name => ({
      label: name, colour: colour(SOURCES.indexOf(name)), values: of(p => p.by_source[name] ?? 0)}))});
    targets.update({at, step, series: order.map((name, n) => ({
      label: name, colour: colour(n), values: of(p => p.by_target[name] ?? 0)}))});
    latency.update({at, step, series: order.filter(name => stats.targets[name]).map(name => ({
      label: name, colour: colour(order.indexOf(name)), values: of(p => p.targets[name]?.latency_p50_ms ?? null)}))});
    replace(perTarget, targetTable(stats, order));
    state.last = [stats, beliefs, order];
    replace(tasks, taskPlots(...state.last, state.all, () => { state.all = true; replace(tasks, taskPlots(...state.last, true)); }));
  }

  replace(root,
    h("div", {class: "page-head"}, h("h1", null, "Overview"),
      segments("Window", WINDOWS, span, value => {
        span = value;
        history.replaceState(null, "", `#/?window=${span}`);
        void load();
      })),
    said, tiles,
    h("div", {class: "grid"}, card("Spend", null, spend.node), card("Decisions by source", null, sources.node),
      card("Decisions by target", null, targets.node), card("Latency a target, median", null, latency.node)),
    card("Quality to cost, by task", {aside: key()}, tasks),
    card("Targets", null, perTarget));
  every(5, load);
  void load();
}

const orderOf = stats => Object.entries(stats.by_target).sort((a, b) => b[1] - a[1]).map(([name]) => name);

function tilesOf(stats) {
  const asked = (stats.by_source.llm ?? 0) / (stats.decisions || 1);
  const errors = Object.values(stats.targets).reduce((sum, one) => sum + one.errors, 0);
  const tile = (title, big, more) => h("div", {class: "tile"}, h("dt", null, title),
    h("dd", {class: "big"}, big), h("dd", {class: "soft"}, more));
  return [
    tile("Spent", usd(stats.spend_usd), `${usd(stats.router_spend_usd)} of it to decide`),
    tile("Saved, net", usd(stats.savings_usd), `${percent(stats.savings_rate)} against the best target`),
    tile("Decisions", short(stats.decisions), `${percent(stats.cache_hit_rate)} of lookups known`),
    tile("Asks the router LLM", percent(asked), `${count(stats.router_calls)} calls in all`),
    tile("Deciding takes", ms(stats.decision_p50_ms), `${ms(stats.decision_p99_ms)} at most, for 99%`),
    tile("Failed attempts", count(errors), "at targets, fallbacks included"),
  ];
}

function targetTable(stats, order) {
  const sums = {};
  for (const byTarget of Object.values(stats.tasks)) {
    for (const [name, one] of Object.entries(byTarget)) {
      const sum = sums[name] ??= {usd: 0, completions: 0, ratings: 0, score: 0};
      sum.usd += one.cost_usd;
      sum.completions += one.completions;
      sum.ratings += one.ratings;
      sum.score += (one.quality ?? 0) * one.ratings;
    }
  }
  const names = [...new Set([...order, ...Object.keys(stats.targets)])];
  const most = Math.max(1, ...Object.values(stats.by_target));
  return table("Targets", [
    {title: "target", of: name => h("a", {href: `#/decisions?target=${encodeURIComponent(name)}`}, name), cls: "strong"},
    {title: "decisions", of: name => bar((stats.by_target[name] ?? 0) / most, count(stats.by_target[name] ?? 0))},
    {title: "spent", num: true, of: name => usd(sums[name]?.usd)},
    {title: "a request", num: true, of: name => sums[name]?.completions ? usd(sums[name].usd / sums[name].completions) : "–"},
    {title: "rated", num: true, of: name => sums[name]?.ratings ? `${percent(sums[name].score / sums[name].ratings, 0)} of ${count(sums[name].ratings)}` : "–"},
    {title: "median", num: true, of: name => ms(stats.targets[name]?.latency_p50_ms)},
    {title: "95%", num: true, of: name => ms(stats.targets[name]?.latency_p95_ms)},
    {title: "errors", num: true, cls: name => stats.targets[name]?.errors ? "bad" : "", of: name => count(stats.targets[name]?.errors ?? 0)},
  ], names, "Nothing was routed in this window.");
}

function key() {
  return h("ul", {class: "legend"},
    h("li", null, h("span", {class: "key-dot"}), "measured: ratings, else answers taken"),
    h("li", null, h("span", {class: "key-belief"}), "what the router expects"),
    h("li", null, h("span", {class: "key-line"}), "its frontier"));
}

function taskPlots(stats, beliefs, order, all, more) {
  const use = task => Object.values(stats.tasks[task] ?? {}).reduce((sum, one) => sum + one.completions, 0);
  const names = [...new Set([...Object.keys(stats.tasks), ...Object.keys(beliefs.tasks)])].sort((a, b) => use(b) - use(a));
  if (!names.length) return h("p", {class: "soft"}, "Nothing was executed in this window.");
  const shown = all ? names : names.slice(0, SHOWN_TASKS);
  return [
    h("div", {class: "grid small"}, shown.map(task => h("div", {class: "task"},
      h("h3", null, task, " ", h("span", {class: "soft"}, `${count(use(task))} answered`)),
      costPlot(`${task}: quality against cost`, points(stats.tasks[task] ?? {}, beliefs.tasks[task]?.targets ?? {}, order),
        beliefs.tasks[task]?.frontier ?? []),
      h("details", null, h("summary", null, "As a table"), taskTable(task, stats.tasks[task] ?? {}, beliefs.tasks[task]))))),
    names.length > shown.length && h("div", {class: "bar"},
      h("button", {type: "button", on: {click: more}}, `Show ${names.length - shown.length} more tasks`)),
  ];
}

function points(measured, believed, order) {
  const hue = name => colour(Math.max(0, order.indexOf(name)));
  const found = [];
  for (const [name, one] of Object.entries(believed)) {
    found.push({name, kind: "belief", colour: hue(name), usd: one.usd, quality: one.probability,
      text: `${name}: ${percent(one.probability)} expected at ${usd(one.usd)}, over ${one.decisions} decisions`});
  }
  for (const [name, one] of Object.entries(measured)) {
    const quality = one.quality ?? one.acceptance;
    if (quality === null || !one.completions) continue;
    found.push({name, kind: one.ratings ? "dot" : "dot taken", colour: hue(name), usd: one.cost_per_task_usd, quality,
      size: Math.min(4 + Math.sqrt(one.completions) / 2, 10),
      text: `${name}: ${percent(quality)} ${one.ratings ? `by ${one.ratings} ratings` : "of answers taken"} at ${usd(one.cost_per_task_usd)}`});
  }
  return found;
}

function taskTable(task, measured, believed) {
  const names = [...new Set([...Object.keys(measured), ...Object.keys(believed?.targets ?? {})])];
  return table(`${task}: quality and cost`, [
    {title: "target", of: name => name, cls: "strong"},
    {title: "rated", num: true, of: name => percent(measured[name]?.quality, 0)},
    {title: "taken", num: true, of: name => percent(measured[name]?.acceptance, 0)},
    {title: "cost", num: true, of: name => usd(measured[name]?.cost_per_task_usd)},
    {title: "expected", num: true, of: name => percent(believed?.targets[name]?.probability, 0)},
    {title: "at", num: true, of: name => usd(believed?.targets[name]?.usd)},
    {title: "frontier", of: name => believed?.frontier.includes(name) ? "yes" : ""},
  ], names);
}
