// Decisions: all of them, live, filtered and paged; one of them is told beside the list.

import {get, latest, query} from "./api.js";
import {card, h, pill, replace, table} from "./dom.js";
import {ago, ms, percent, usd, when} from "./format.js";
import {storyOf} from "./story.js";
import {debounced, failure, select} from "./widgets.js";

const FILTERS = ["target", "source", "task", "key", "outcome", "text"];
const SOURCES = ["rules", "session", "cache", "learned", "llm", "pinned", "default"];
const PAGE = 25;

export function mount(root, {where, me, every, signal}) {
  const run = latest(), runStory = latest();
  const filters = Object.fromEntries(FILTERS.map(name => [name, where.search.get(name) ?? ""]));
  const said = h("div"), list = h("div"), filterBar = h("div", {class: "fields filters"}), story = h("div", {class: "story-pane"});
  const pager = h("div", {class: "bar pager"}), live = h("input", {type: "checkbox", id: "live", checked: true});
  const layout = h("div", {class: "master"}, card("Decisions", {class: "list", aside: h("label", {class: "soft nowrap"}, live, " live")},
    filterBar, said, list, pager), story);
  let behind = [], open = where.rest[0] ?? "", choices = {targets: [], tasks: [], keys: []}, last = null;

  const address = id => query(`#/decisions${id ? `/${encodeURIComponent(id)}` : ""}`, filters);

  async function load() {
    const before = behind.at(-1) ?? "";
    try {
      const got = await run(cancel => get(query("decisions", {...filters, limit: PAGE, brief: true, before}), {signal: cancel}));
      if (!got) return;
      replace(said);
      if (JSON.stringify(got.value) === JSON.stringify(last)) return void tick();
      last = got.value;
      draw();
    } catch (error) {
      replace(said, failure(error));
    }
  }

  function draw() {
    const decisions = last?.decisions ?? [];
    const filtered = FILTERS.some(name => filters[name]);
    replace(list, table("Decisions", columns(), decisions.map(one => ({...one,
      attributes: {class: one.decision_id === open ? "chosen" : null, "data-id": one.decision_id}})),
    filtered ? "No decision matches." : "No decision yet: send a request, or try one in the Playground."));
    replace(pager,
      h("button", {type: "button", id: "newer", disabled: !behind.length, on: {click: () => { behind.pop(); void load(); }}}, "Newer"),
      h("button", {type: "button", id: "older", disabled: !last?.next, on: {click: () => { behind.push(last.next); void load(); }}}, "Older"),
      h("span", {class: "soft"}, behind.length ? `page ${behind.length + 1}` : "the newest"));
  }

  function tick() {
    for (const link of list.querySelectorAll("[data-at]")) link.textContent = ago(Number(link.dataset.at));
  }

  function columns() {
    const shown = (last?.decisions ?? []);
    const columns = [
      {title: "when", of: one => h("a", {href: address(one.decision_id), title: when(one.created_at),
        "data-at": one.created_at, "aria-current": one.decision_id === open ? "true" : null}, ago(one.created_at))},
      {title: "target", of: one => one.target, cls: "strong"},
      {title: "source", of: one => pill(one.source, one.source === "llm" ? "accent" : "")},
      {title: "task", of: one => one.task},
      {title: "outcome", of: one => outcome(one.outcome)},
      {title: "cost", num: true, of: one => usd(one.cost_usd)},
      {title: "took", num: true, of: one => ms(one.latency_ms)},
      {title: "rated", num: true, of: one => one.score === null ? "–" : percent((one.score + 1) / 2, 0)},
      {title: "key", of: one => one.key},
    ];
    if (shown.some(one => one.excerpt)) columns.push({title: "prompt", cls: "excerpt", of: one => one.excerpt});
    return columns;
  }

  function drawFilters() {
    const pick = name => value => {
      filters[name] = value;
      behind = [];
      history.replaceState(null, "", address(open));
      void load();
    };
    const typed = debounced(250, pick("text"));
    replace(filterBar,
      select("Target", choices.targets, filters.target, pick("target")),
      select("Source", SOURCES, filters.source, pick("source")),
      select("Task", choices.tasks, filters.task, pick("task")),
      select("Key", choices.keys, filters.key, pick("key")),
      select("Outcome", ["ok", "failed", "decided"], filters.outcome, pick("outcome")),
      h("label", {class: "field"}, "Text", h("input", {type: "search", id: "text", value: filters.text, disabled: !me.records_prompts,
        placeholder: me.records_prompts ? "in the prompt" : "prompts are not recorded",
        title: me.records_prompts ? null : "LLMROUTER_RECORD_PROMPTS=true records them",
        on: {input: event => typed(event.target.value)}})));
  }

  async function loadChoices() {
    const [catalog, stats] = await Promise.all([get("catalog", {signal}), get("stats", {signal})]).catch(() => [null, null]);
    if (!catalog) return;
    choices = {targets: [...new Set([...Object.keys(stats.by_target), ...catalog.targets.map(one => one.id)])],
      tasks: Object.keys(stats.tasks), keys: Object.keys(stats.spend_by_key_usd)};
    drawFilters();
  }

  async function tell(id, focus) {
    open = id;
    layout.classList.toggle("open", Boolean(id));
    draw();
    if (!id) return void replace(story);
    try {
      const got = await runStory(cancel => get(`decisions/${encodeURIComponent(id)}`, {signal: cancel}));
      if (!got) return;
      replace(story, storyOf(got.value, {back: address(""), again: () => void tell(id, false)}));
    } catch (error) {
      replace(story, h("p", null, h("a", {href: address("")}, "← All decisions")), failure(error));
    }
    if (focus) story.querySelector("h2")?.focus({preventScroll: false});
  }

  replace(root, h("h1", {class: "visually-hidden"}, "Decisions"), layout);
  drawFilters();
  void load();
  void loadChoices();
  if (open) void tell(open, true);
  every(2, () => live.checked && !behind.length && !list.matches(":hover, :focus-within") && load());
  return moved => {
    if (FILTERS.some(name => (moved.search.get(name) ?? "") !== filters[name])) return false;
    void tell(moved.rest[0] ?? "", true);
    return true;
  };
}

export function outcome(word) {
  return pill(word === "decided" ? "decided only" : word, {ok: "good", failed: "bad"}[word] ?? "");
}
