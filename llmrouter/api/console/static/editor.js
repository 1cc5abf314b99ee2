// The catalog: what serves, and one target's file to edit. Nothing is saved before it was previewed.
const NEW = `---
model: the-name-sent-upstream
provider: openai
base_url: the address of an OpenAI-compatible endpoint, up to /v1
api_key_env: THE_VARIABLE_WITH_ITS_KEY
price: {input: 1.0, output: 4.0}   # USD per 1M tokens
context_window: 128000
capabilities: [tools, json_schema]
---
What it is strong at, where it is weak, when to choose it and when not.
`;
const open = {id: null, etag: null, fresh: false, seen: null};

function showCatalog(catalog) {
  const warnings = catalog.warnings ?? [];
  at("catalog").replaceChildren(table([
    {title: "target", cls: "key", of: t => t.id},
    {title: "provider", of: t => t.provider},
    {title: "$ in / out of 1M", num: true, of: t => `${number(t.price.input)} / ${number(t.price.output)}`},
    {title: "context", num: true, of: t => t.context_window},
    {title: "can", cls: "why", of: t => t.capabilities.join(", ") || "–"},
    {title: "tiers", of: t => t.tiers?.join(", ") ?? "all"},
    {title: "", of: t => t.id === catalog.default ? el("span", "default", "tag good")
      : t.enabled ? "" : el("span", "disabled", "tag warn")},
    {title: "", num: true, of: t => button("Edit", () => edit(t.id))},
  ], catalog.targets), ...warnings.map(text => el("p", text, "warn")));
}

function button(text, act) {
  const node = el("button", text, "small");
  node.addEventListener("click", act);
  return node;
}

// The file is fetched when it is opened, with the ETag that a save goes by.
async function edit(id) {
  try {
    const answer = await call("GET", "/catalog/" + encodeURIComponent(id));
    show({id, etag: answer.headers.get("ETag"), fresh: false}, await answer.text());
    await showUndo();
  } catch (error) {
    said(error.message, "bad");
    if (error.status === 401 || error.status === 403) askKey();
  }
}

function show(what, text) {
  Object.assign(open, what, {seen: null});
  at("editing").textContent = open.fresh ? "A new target" : `catalog/${open.id}.md`;
  at("newid").hidden = !open.fresh;
  at("remove").hidden = at("undo").hidden = open.fresh;
  at("text").value = text;
  at("editor").hidden = false;
  said("");
  changed();
  (open.fresh ? at("newid") : at("text")).focus();
  at("text").setSelectionRange(0, 0);
  at("text").scrollTop = 0;
  at("editor").scrollIntoView({behavior: "smooth", block: "nearest"});
}

async function showUndo() {
  const {versions} = await read(`/catalog/${encodeURIComponent(open.id)}/history`);
  at("undo").disabled = !versions.length;
  at("undo").title = versions.length ? `Back to what it was until ${new Date(1000 * versions[0].at).toLocaleString()}`
    : "It has not been edited here yet";
}

// A preview is of one text: with the next key press it is of another, and Save waits for a new one.
function changed() {
  at("text").classList.remove("wrong");
  at("save").disabled = true;
  at("impact").replaceChildren(el("p", "Preview shows what the edit would change before it is saved.", "soft"));
}

const said = (text, cls = "soft") => { at("said").textContent = text; at("said").className = cls; };
const id = () => open.fresh ? at("newid").value.trim() : open.id;

async function busy(button, work) {
  button.disabled = true;
  try { await work(); } finally { button.disabled = false; }
}

function showErrors(error) {
  at("text").classList.add("wrong");
  const list = el("ul", undefined, "errors");
  for (const line of error.message.split("\n")) {
    const place = /^(.*):(\d+): (.*)$/.exec(line), item = el("li");
    if (place) {
      const file = place[1].split("/").slice(-2).join("/"), number = Number(place[2]);
      const jump = file === `catalog/${id()}.md` ? button(`line ${number}`, () => select(number)) : el("code", `${file}:${number}`);
      item.append(jump, " " + place[3]);
    } else item.textContent = line;
    list.append(item);
  }
  at("impact").replaceChildren(el("h3", "This cannot be saved", "bad"), list);
}

function select(line) {
  const lines = at("text").value.split("\n"), start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  at("text").focus();
  at("text").setSelectionRange(start, start + (lines[line - 1] ?? "").length);
}

async function preview(text) {
  at("impact").replaceChildren(el("p", "Replaying recorded requests…", "soft"));
  const wanted = id();
  try {
    const answer = await call("POST", "/catalog/preview", JSON.stringify({id: wanted, text}),
      {"Content-Type": "application/json"});
    const report = await answer.json();
    if (wanted !== id() || (text !== null && text !== at("text").value)) return changed();
    showImpact(report);
    open.seen = text;
    at("save").disabled = text === null;
  } catch (error) { showErrors(error); }
}

function showImpact(report) {
  const parts = [];
  const list = lines => { const node = el("ul"); node.append(...lines.map(line => el("li", line))); return node; };
  parts.push(el("h3", report.changes.length ? "What the edit changes" : "The edit changes nothing that is read"));
  if (report.changes.length) parts.push(list(report.changes.map(change => change.text)));
  for (const warning of report.warnings) parts.push(el("p", warning, "warn"));
  if (!report.replayed) {
    parts.push(el("p", "No request is recorded yet, so its effect on requests is not known.", "soft"));
    return at("impact").replaceChildren(...parts);
  }
  const ratio = report.before_usd > 0 ? report.after_usd / report.before_usd - 1 : 0;
  const lead = el("p", `${number(report.moved)} of ${number(report.replayed)} requests change target · ${usd(report.before_usd)} → ${usd(report.after_usd)} `, "lead");
  if (Math.abs(ratio) >= 0.0005) lead.append(el("span", (ratio > 0 ? "+" : "") + percent(ratio), ratio > 0 ? "bad" : "good"));
  parts.push(el("h3", "What it would do to recorded requests"), lead);
  for (const one of report.refusals) parts.push(el("p", `${one.requests} would be refused (${one.status}): ${one.message}`, "bad"));
  if (report.served_again) parts.push(el("p", `${report.served_again} that are refused now would be served`, "good"));
  const cost = {title: "cost", num: true, of: r => `${usd(r.before_usd)} → ${usd(r.after_usd)}`};
  const count = {title: "requests", num: true, of: r => r.requests};
  const tables = [
    [report.moves, [{title: "from → to", of: m => `${m.before} → ${m.after}`}, count, cost]],
    [report.tasks, [{title: "task", cls: "key", of: t => words(t.task)}, count, {title: "change", num: true, of: t => t.moved}, cost]],
    [report.eligibility, [{title: "eligible", of: s => (s.change === "lost" ? "− " : "+ ") + s.target}, count,
      {title: "mostly because", cls: "why", of: s => s.change === "lost" ? s.reason : "before: " + s.reason}]],
  ];
  for (const [rows, columns] of tables) {
    if (!rows.length) continue;
    const box = el("div", undefined, "scroll");
    box.append(table(columns, rows));
    parts.push(box);
  }
  if (report.examples.length) {
    const more = el("details"), box = el("div", undefined, "scroll");
    box.append(table([
      {title: "from → to", cls: "why", of: x => `${x.before ?? "refused"} → ${x.after ?? "refused"}`},
      {title: "why", cls: "why", of: x => x.reason},
      {title: "request", cls: "why", of: x => x.text ?? el("code", x.decision_id)},
    ], report.examples));
    more.append(el("summary", `${report.examples.length} examples`), box);
    parts.push(more);
  }
  if (report.notes.length) parts.push(list(report.notes));
  at("impact").replaceChildren(...parts);
}

async function save() {
  const name = id(), known = open.fresh ? {"If-None-Match": "*"} : {"If-Match": open.etag};
  try {
    await call("PUT", "/catalog/" + encodeURIComponent(name), open.seen, {"Content-Type": "text/markdown", ...known});
    await edit(name);
    said(`${name} is saved and serves.`, "good");
  } catch (error) {
    if (error.status === 412) said(error.message, "bad");
    else showErrors(error);
  }
  refresh();
}

async function undo() {
  const name = open.id;
  try {
    await call("POST", `/catalog/${encodeURIComponent(name)}/revert`, undefined, {"If-Match": open.etag});
    at("editor").hidden = true;
    await edit(name);
    said(`${name} is as it was before its last edit. Undo again to take that back.`, "good");
  } catch (error) { said(error.message, "bad"); }
  refresh();
}

// The first click shows what taking it out would do; the second takes it out.
async function remove() {
  if (at("remove").dataset.sure !== open.id) {
    await preview(null);
    if (at("text").classList.contains("wrong")) return;
    at("remove").dataset.sure = open.id;
    at("remove").textContent = "Remove it now";
    return;
  }
  const name = open.id;
  forget();
  try {
    await call("DELETE", "/catalog/" + encodeURIComponent(name), undefined, {"If-Match": open.etag});
    at("editor").hidden = true;
    said(`${name} is gone. `, "good");
    at("said").append(button("Bring it back", async () => {
      await call("POST", `/catalog/${encodeURIComponent(name)}/revert`);
      await edit(name);
      refresh();
    }));
  } catch (error) { showErrors(error); }
  refresh();
}

function forget() {
  delete at("remove").dataset.sure;
  at("remove").textContent = "Remove target…";
}

at("add").addEventListener("click", () => show({id: null, etag: null, fresh: true}, NEW));
at("text").addEventListener("input", () => { forget(); changed(); });
at("newid").addEventListener("input", changed);
at("look").addEventListener("click", () => busy(at("look"), () => preview(at("text").value)));
at("save").addEventListener("click", save);
at("close").addEventListener("click", () => { forget(); at("editor").hidden = true; });
at("undo").addEventListener("click", undo);
at("remove").addEventListener("click", remove);
loop();
