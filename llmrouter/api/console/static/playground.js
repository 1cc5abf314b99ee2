// Playground: one request, decided in one or two ways, and answered where that is wanted.

import {get, latest, post} from "./api.js";
import {complete} from "./answer.js";
import {draft} from "./draft.js";
import {card, h, pill, replace} from "./dom.js";
import {ms, usd} from "./format.js";
import {served, worth} from "./story.js";
import {failure, select} from "./widgets.js";

const STRATEGIES = ["auto", "rules", "learned", "llm", "cascade"];
const EXAMPLE = "Write a Python function that merges two sorted lists, and say what it costs.";
const SERVING = "the one that serves", EDITED = "edits of the Catalog page";
const kept = {prompt: EXAMPLE, tier: "", quality: 0.5, max_cost_usd: "", latency_budget_ms: "", task: "", compare: false};

export function mount(root, {me, signal}) {
  const sides = [side("A", {strategy: "auto"}), side("B", {strategy: "llm"})];
  const results = h("div", {class: "sides"}), form = h("form", {class: "playground", on: {submit: event => {
    event.preventDefault();
    go(event.submitter?.value === "answer");
  }}});
  const known = {tiers: [], tasks: [], catalogs: [SERVING]};

  function field(name, label, attributes) {
    return h("label", {class: "field"}, label, h("input", {value: kept[name], ...attributes,
      on: {input: event => { kept[name] = event.target.value; }}}));
  }

  function draw() {
    const shown = h("output", null, Number(kept.quality).toFixed(2));
    const more = h("input", {type: "checkbox", id: "compare", checked: kept.compare, on: {change: event => {
      kept.compare = event.target.checked;
      draw();
    }}});
    replace(form,
      h("label", {class: "field"}, "Request", h("textarea", {rows: 7, required: true, value: kept.prompt,
        on: {input: event => { kept.prompt = event.target.value; }}})),
      h("div", {class: "fields"},
        h("label", {class: "field"}, h("span", null, "Quality ", shown), h("input", {type: "range", min: 0, max: 1, step: 0.05, value: kept.quality,
          on: {input: event => { kept.quality = Number(event.target.value); shown.textContent = kept.quality.toFixed(2); }}})),
        select("Tier", known.tiers, kept.tier, value => { kept.tier = value; }, "unsaid"),
        field("max_cost_usd", "Budget, USD", {type: "number", min: 0, step: "any", placeholder: "none"}),
        field("latency_budget_ms", "Time, ms", {type: "number", min: 1, placeholder: "none"}),
        select("Task", known.tasks, kept.task, value => { kept.task = value; }, "found out")),
      h("div", {class: "bar"}, h("label", {class: "nowrap"}, more, " Compare two ways")),
      h("div", {class: "ways"}, sides.slice(0, kept.compare ? 2 : 1).map(one => one.controls(known.catalogs))),
      h("div", {class: "bar"}, h("button", {class: "first", value: "decide"}, "Decide"),
        h("button", {value: "answer"}, "Decide and answer")));
    replace(results, sides.slice(0, kept.compare ? 2 : 1).map(one => one.node));
  }

  function go(answer) {
    for (const one of sides.slice(0, kept.compare ? 2 : 1)) void one.run(answer);
  }

  async function load() {
    const [catalog, stats, versions] = await Promise.all([get("catalog", {signal}), get("stats", {signal}),
      me.admin ? get("prompts/versions?limit=20", {signal}).catch(() => null) : null]).catch(() => [null]);
    if (!catalog) return;
    known.tiers = [...new Set(catalog.targets.flatMap(one => one.tiers ?? []))].sort();
    known.tasks = Object.keys(stats.tasks);
    known.catalogs = [SERVING, ...(draft.changed() && me.admin ? [EDITED] : []),
      ...(versions?.versions ?? []).map(one => `version ${one.version}`)];
    draw();
  }

  replace(root, h("h1", {class: "visually-hidden"}, "Playground"),
    h("div", {class: "bench"}, card("Request", null, form), results));
  draw();
  void load();
  signal.addEventListener("abort", () => sides.forEach(one => one.stop()));
}

/** One way of deciding: its own strategy and catalog, its decision, and its answer. */
function side(name, {strategy}) {
  const run = latest(), chosen = {strategy, catalog: SERVING};
  const body = h("div", {class: "side-body", "aria-live": "polite"}, h("p", {class: "soft"}, "Nothing decided yet."));
  const node = card(`Way ${name}`, {class: "side"}, body);

  function controls(catalogs) {
    return h("fieldset", {class: "way"}, h("legend", null, `Way ${name}`),
      select("Strategy", STRATEGIES, chosen.strategy, value => { chosen.strategy = value; }, null),
      catalogs.length > 1 && select("Catalog", catalogs, chosen.catalog, value => { chosen.catalog = value; }, null));
  }

  async function decide(request, signal) {
    if (chosen.catalog === SERVING) return post("route", request, {signal});
    const where = chosen.catalog === EDITED ? {files: draft.edits()} : {version: chosen.catalog.replace("version ", "")};
    return post("catalog/route", {...where, request}, {signal});
  }

  async function start(answer) {
    replace(body, h("p", {class: "soft"}, "Deciding …"));
    const request = requestOf(chosen.strategy);
    try {
      const got = await run(async signal => {
        const decision = await decide(request, signal);
        const reply = h("div");
        replace(body, decisionOf(decision, chosen.catalog === SERVING), reply);
        if (answer && chosen.catalog !== SERVING) {
          replace(reply, h("p", {class: "soft"}, "Only the catalog that serves can answer."));
        } else if (answer) {
          await complete({...request, router: {decision_id: decision.decision_id}}, reply, signal);
        }
        return decision;
      });
      if (!got) return;
    } catch (error) {
      replace(body, failure(error));
    }
  }

  return {node, controls, run: start, stop: () => void run(async () => null)};
}

function requestOf(strategy) {
  const router = {quality: Number(kept.quality)};
  if (strategy !== "auto") router.strategy = strategy;
  if (kept.tier) router.tier = kept.tier;
  if (kept.task) router.task = kept.task;
  if (kept.max_cost_usd) router.max_cost_usd = Number(kept.max_cost_usd);
  if (kept.latency_budget_ms) router.latency_budget_ms = Number(kept.latency_budget_ms);
  return {prompt: kept.prompt, router};
}

function decisionOf(one, told) {
  return [
    h("p", {class: "verdict"}, h("strong", null, one.target), pill(`by ${one.source}`, "accent"), pill(one.task ?? "no task")),
    h("p", null, one.reason),
    h("p", {class: "soft"}, `Expected: ${usd(one.estimate.cost_usd)}, ${ms(one.estimate.latency_ms)}. Deciding took ${ms(one.timing_ms)}. `,
      told ? h("a", {href: `#/decisions/${one.decision_id}`}, "Its story") : null),
    one.alternatives?.length ? worth(one) : null,
    one.excluded?.length ? h("details", null, h("summary", null, `${one.excluded.length} targets were out`), served(one)) : null,
  ];
}
