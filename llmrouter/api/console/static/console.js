"use strict";
// Everything shown goes through textContent: what a model or a caller wrote stays text.
const at = id => document.getElementById(id);
const el = (tag, text, cls) => {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (cls) node.className = cls;
  return node;
};
const isObject = v => v !== null && typeof v === "object" && !Array.isArray(v);
const isNumber = v => typeof v === "number" && Number.isFinite(v);
const digits = (v, n) => v.toLocaleString(undefined, {maximumSignificantDigits: n});
const number = v => !isNumber(v) ? String(v ?? "–") : Number.isInteger(v) ? v.toLocaleString() : digits(v, 4);
const usd = v => isNumber(v) ? (v < 0 ? "−$" : "$") + digits(Math.abs(v), 3) : "–";
const percent = v => isNumber(v) ? (100 * v).toFixed(1) + "\u00a0%" : "–";
const words = key => key.replaceAll("_", " ");

function table(columns, rows, nothing = "Nothing yet.") {
  if (!rows.length) return el("p", nothing, "soft");
  const node = el("table"), head = node.createTHead().insertRow(), body = node.createTBody();
  for (const column of columns) head.append(el("th", column.title, column.num ? "num" : ""));
  for (const row of rows) {
    const line = body.insertRow();
    for (const column of columns) {
      const cell = line.insertCell(), value = column.of(row);
      const cls = typeof column.cls === "function" ? column.cls(row) : column.cls;
      cell.className = (column.num ? "num " : "") + (cls || "");
      if (value instanceof Node) cell.append(value);
      else cell.textContent = column.num ? number(value) : String(value ?? "–");
    }
  }
  return node;
}

function meter(value, text) {
  const node = el("span"), bar = el("meter");
  bar.max = 1;
  bar.value = value;
  node.append(bar, text);
  return node;
}

function shares(counts) {
  const rows = Object.entries(counts).filter(([, n]) => isNumber(n)).sort((a, b) => b[1] - a[1]);
  const all = rows.reduce((sum, [, n]) => sum + n, 0) || 1;
  return table([
    {title: "", cls: "key", of: ([name]) => name},
    {title: "share", of: ([, n]) => meter(n / all, percent(n / all))},
    {title: "count", num: true, of: ([, n]) => n},
  ], rows);
}

// Quality a day, oldest first; days that nobody rated are left out.
function spark(daily) {
  const known = (daily ?? []).map((v, i) => [i, v]).filter(([, v]) => isNumber(v));
  if (known.length < 2) return el("span", "–", "soft");
  const node = at("spark").content.firstElementChild.cloneNode(true), [line, dot] = node.children;
  const x = i => 3 + 84 * i / Math.max(1, daily.length - 1), y = v => 17 - 14 * v;
  node.setAttribute("aria-label", "quality a day: " + known.map(([, v]) => v.toFixed(2)).join(", "));
  line.setAttribute("points", known.map(([i, v]) => `${x(i)},${y(v)}`).join(" "));
  const [i, v] = known[known.length - 1];
  dot.setAttribute("cx", x(i));
  dot.setAttribute("cy", y(v));
  return node;
}

const quality = row => isNumber(row.quality) ? row.quality : row.acceptance;
const judged = row => isNumber(row.quality) ? `${row.quality.toFixed(2)} · ${number(row.ratings)} rated`
  : isNumber(row.acceptance) ? `${row.acceptance.toFixed(2)} · accepted` : "–";

function showTasks(tasks, history) {
  const rows = Object.entries(tasks).flatMap(([task, targets]) => Object.entries(targets)
    .filter(([, v]) => isObject(v))
    .sort((a, b) => (b[1].quality_per_usd ?? -1) - (a[1].quality_per_usd ?? -1))
    .map(([target, v], place) => ({task, target, place, ...v, line: history?.[task]?.[target]})));
  at("tasks").replaceChildren(table([
    {title: "task", cls: r => r.place ? "key again" : "key", of: r => words(r.task)},
    {title: "target", cls: "wrap", of: r => r.target},
    {title: "quality per $", num: true, of: r => isNumber(r.quality_per_usd) ? el("b", digits(r.quality_per_usd, 3))
      : r.completions && r.cost_per_task_usd === 0 ? el("b", "free", "good") : "–"},
    {title: "quality", of: r => isNumber(quality(r)) ? meter(quality(r), judged(r)) : "–"},
    {title: "cost of 1,000", num: true, of: r => r.completions ? usd(1000 * r.cost_per_task_usd) : "–"},
    {title: "requests", num: true, of: r => r.completions},
    {title: "failed", num: true, of: r => r.failed},
    {title: "saved", num: true, of: r => usd(r.best_target_usd - r.cost_usd - (r.router_usd ?? 0))},
    {title: "15 days", of: r => spark(r.line?.daily_quality)},
    {title: "", of: r => r.line?.falls?.length
      ? el("span", r.line.falls.map(f => `${f.what} fell: ${number(f.before)} → ${number(f.now)}`).join("; "), "tag bad") : ""},
  ], rows, "Nothing yet: send something to /complete, and rate it with /feedback."));
}

const TILES = [
  ["spend_usd", "net spend", usd], ["savings_usd", "saved against the best target", usd, true],
  ["savings_rate", "saved", percent, true], ["router_spend_usd", "of it for the router LLM", usd],
  ["decisions", "decisions", number], ["cache_hit_rate", "from the cache", percent],
  ["decision_p50_ms", "ms to decide, p50", number], ["decision_p99_ms", "ms to decide, p99", number],
];

function showStats(stats) {
  at("tiles").replaceChildren(...TILES.map(([key, title, as, signed]) => {
    const tile = el("div", undefined, "tile");
    tile.append(el("b", as(stats[key]), signed && (stats[key] < 0 ? "bad" : "good")), el("span", title, "soft"));
    return tile;
  }));
  showTasks(stats.tasks ?? {}, stats.today_and_last_week);
  at("sources").replaceChildren(shares(stats.by_source ?? {}));
  at("targets").replaceChildren(shares(stats.by_target ?? {}));
  const shownAbove = new Set(["tasks", "by_source", "by_target", "source_rates", ...TILES.map(([key]) => key)]);
  at("rest").replaceChildren(table([
    {title: "", cls: "key", of: ([name]) => words(name)},
    {title: "", of: ([, v]) => el("code", isObject(v) ? JSON.stringify(v, null, 1) : number(v))},
  ], Object.entries(stats).filter(([key]) => !shownAbove.has(key))));
}

// Samples of one metric in the Prometheus text: [labels, value].
function samples(text, name) {
  const found = [];
  for (const line of text.split("\n")) {
    const match = line.startsWith(name) && /^([a-z_]+)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match || match[1] !== name) continue;
    const labels = {};
    for (const [, key, value] of (match[2] ?? "").matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)) labels[key] = value;
    found.push([labels, Number(match[3])]);
  }
  return found;
}

function showMetrics(text) {
  const tasks = {}, of = task => tasks[task] ??= {task, agreed: 0, disagreed: 0, withdrawn: 0, trusted: false};
  for (const [labels, n] of samples(text, "llmrouter_audits_total")) of(labels.task)[labels.outcome] += n;
  for (const [labels, n] of samples(text, "llmrouter_withdrawals_total")) of(labels.task).withdrawn += n;
  for (const [labels, n] of samples(text, "llmrouter_learned_trusted")) of(labels.task).trusted = n === 1;
  const rows = Object.values(tasks).sort((a, b) => b.agreed + b.disagreed - a.agreed - a.disagreed);
  const share = r => r.agreed / (r.agreed + r.disagreed);
  at("trust").replaceChildren(table([
    {title: "task", cls: "key", of: r => words(r.task)},
    {title: "", of: r => r.trusted ? el("span", "answers alone", "tag good")
      : r.withdrawn ? el("span", "withdrawn", "tag warn") : el("span", "learning", "tag")},
    {title: "agreement", of: r => isNumber(share(r))
      ? meter(share(r), `${percent(share(r))} of ${number(r.agreed + r.disagreed)}`) : "–"},
    {title: "withdrew", num: true, of: r => r.withdrawn},
  ], rows, "Nothing yet: it learns from what the router LLM decides."));
  const circuits = [...samples(text, "llmrouter_breaker_state"), ...samples(text, "llmrouter_router_breaker_state")]
    .filter(([, n]) => n === 1);
  at("breakers").replaceChildren(table([
    {title: "", cls: "key", of: ([labels]) => labels.target ?? `router LLM at ${labels.server}`},
    {title: "", of: ([labels]) => el("span", labels.state, "tag " + (labels.state === "closed" ? "good" : "bad"))},
  ], circuits, "Nobody has failed: every circuit is closed."));
}

// Another target than the one chosen, to learn from it.
const explored = d => String(d.reason ?? "").startsWith("exploring: ");
function source(d) {
  const node = el("span");
  node.append(el("span", d.source, "tag"), ...(explored(d) ? [" ", el("span", "explored", "tag warn")] : []));
  return node;
}

function showDecisions(decisions) {
  at("decisions").replaceChildren(table([
    {title: "target", cls: "key", of: d => d.target},
    {title: "source", of: source},
    {title: "its odds", num: true, of: d => isNumber(d.propensity) && d.propensity < 1 ? percent(d.propensity) : "–"},
    {title: "task", of: d => words(d.task ?? "–")},
    {title: "confidence", num: true, of: d => isNumber(d.confidence) ? d.confidence.toFixed(2) : "–"},
    {title: "estimate", num: true, of: d => usd(d.estimate?.cost_usd)},
    {title: "took ms", num: true, of: d => isNumber(d.timing_ms) ? digits(d.timing_ms, 3) : "–"},
    {title: "why", cls: "why", of: d => d.reason},
    {title: "decision", of: d => el("code", String(d.decision_id ?? ""))},
  ], decisions, "Nothing yet: send something to /route."));
}

function showProblems(problems) {
  at("problems").hidden = !problems.length;
  at("problemlist").replaceChildren(...problems.map(p => {
    const line = el("div");
    line.append(el("code", `${p.file}:${p.line}`), " " + p.message);
    return line;
  }));
}

function state(good, text) {
  at("dot").className = "dot " + (good ? "good" : "bad");
  at("state").textContent = text;
}

// One call with the tab's key. Raises with the service's own message, `status` beside it.
async function call(method, path, body, headers = {}) {
  const key = sessionStorage.getItem("key");
  if (key) headers = {...headers, Authorization: "Bearer " + key};
  const answer = await fetch(path, {method, body, headers});
  if (answer.ok) return answer;
  const said = (await answer.json().catch(() => ({}))).error ?? {};
  throw Object.assign(new Error(said.message ?? answer.statusText), {status: answer.status, code: said.code});
}
const read = async path => (await call("GET", path)).json();

// Reading may be open to everyone, or to this key, where editing is not.
let keyWanted = false;
function askKey() {
  keyWanted = true;
  at("login").hidden = false;
  at("key").focus();
}

async function refresh() {
  try {
    const answers = await Promise.all(["/readyz", "/healthz"].map(path => fetch(path)));
    const [ready, health] = await Promise.all(answers.map(answer => answer.json()));
    at("version").textContent = health.version ?? "";
    showProblems(ready.catalog?.problems ?? []);
    state(ready.status === "ready", `${ready.status} · ${ready.catalog?.targets ?? 0} targets · ${ready.running ?? 0} running`);
    const [stats, recent, catalog] = await Promise.all(["/stats", "/decisions?limit=25", "/catalog"].map(read));
    showStats(stats);
    showDecisions(recent.decisions ?? []);
    showCatalog(catalog);
    await call("GET", "/metrics").then(answer => answer.text()).then(showMetrics, () => {});
    at("login").hidden = !keyWanted;
    at("data").hidden = false;
  } catch (error) {
    if (error.status === 401) { at("login").hidden = false; at("data").hidden = true; }
    else state(false, error.status ? error.message : "no answer from the service");
  }
}

async function loop() {
  if (!document.hidden) await refresh();
  setTimeout(loop, 2000);
}

at("keyform").addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem("key", at("key").value);
  at("key").value = "";
  keyWanted = false;
  refresh();
});
