// Catalog: its files edited and checked as one types, what an edit would change, versions, canary.

import {get, latest, post, send} from "./api.js";
import {canaryPanel} from "./canary.js";
import {diffView} from "./diff.js";
import {card, h, replace} from "./dom.js";
import {draft} from "./draft.js";
import {codeEditor, fileList, NEW_TARGET} from "./files.js";
import {previewOf} from "./preview.js";
import {toast} from "./toast.js";
import {versionsPanel} from "./versions.js";
import {confirming, debounced, failure, problemList} from "./widgets.js";

const TABS = [["", "Edit"], ["versions", "Versions"], ["canary", "Canary"]];
const CHECK_MS = 120;

export function mount(root, {where, me, every}) {
  if (!me.admin) {
    replace(root, h("h1", null, "Catalog"), failure({status: 403, message: "The catalog is for the admin key."}));
    return null;
  }
  const tab = TABS.some(([name]) => name === where.rest[0]) ? where.rest[0] : "";
  const body = h("div", {class: "page"});
  replace(root, h("div", {class: "page-head"}, h("h1", null, "Catalog"),
    h("nav", {class: "tabs", "aria-label": "Catalog"}, TABS.map(([name, text]) => h("a", {
      href: `#/catalog${name && `/${name}`}`, "aria-current": name === tab ? "page" : null}, text)))), body);
  if (tab === "versions") versionsPanel(body);
  else if (tab === "canary") canaryPanel(body, every);
  else editPanel(body);
  return null;
}

function editPanel(root) {
  const check = latest(), preview = latest();
  const list = h("div"), said = h("div"), checked = h("div", {class: "checked", role: "status"}), result = h("div", {class: "result"});
  const title = h("h2", null, "…"), changes = h("details", {class: "changes"}, h("summary", null, "What was edited"));
  const editor = codeEditor(text => { draft.set(open, text); fresh(); });
  const share = h("input", {type: "number", min: 1, max: 50, value: 10, class: "share", "aria-label": "Share of sessions, percent"});
  const buttons = {};
  let open = "routing.yaml", fine = true;

  const runCheck = debounced(CHECK_MS, async () => {
    if (!draft.changed()) return;
    try {
      const got = await check(signal => post("catalog/check", {files: draft.edits()}, {signal}));
      if (got && draft.changed()) showCheck(got.value);
    } catch (error) {
      replace(checked, failure(error));
    }
  });

  function showCheck({ok, problems, warnings}) {
    fine = ok;
    editor.mark(problems.filter(one => one.file === open).map(one => one.line));
    replace(checked, ok ? h("p", {class: "good"}, "This could serve.") : h("p", {class: "bad"}, "This could not serve:"),
      problemList(problems, "bad"), problemList(warnings, "warn"));
    enable();
  }

  function enable() {
    const edited = draft.changed();
    for (const name of ["preview", "save", "canary"]) buttons[name].disabled = !edited || !fine;
    buttons.discard.disabled = !edited;
    buttons.remove.disabled = !open.startsWith("catalog/");
    buttons.remove.textContent = draft.text(open) === null ? "Keep the target" : "Remove the target";
  }

  function fresh() {
    fine = true;
    if (!draft.changed()) { replace(checked, h("p", {class: "soft"}, "As saved.")); editor.mark([]); }
    drawList();
    drawChanges();
    enable();
    runCheck();
  }

  function drawList() {
    replace(list, fileList(open, show, add));
  }

  function drawChanges() {
    const edited = Object.entries(draft.edits());
    changes.hidden = !edited.length;
    if (changes.open) replace(changes, h("summary", null, "What was edited"), edited.map(([path, text]) => [
      h("h3", null, text === null ? `${path}, removed` : path), diffView(path, draft.saved(path), text)]));
  }

  function show(path) {
    open = path;
    replace(title, path);
    editor.set(draft.text(path), draft.text(path) === null ? "This target is to be removed." : "");
    drawList();
    enable();
  }

  function add(id) {
    const path = `catalog/${id}.md`;
    if (draft.text(path) === null) draft.set(path, NEW_TARGET);
    show(path);
    fresh();
  }

  async function load(path = open) {
    try {
      draft.rebase(await get("prompts"));
      replace(said);
      show(draft.text(path) === null ? "routing.yaml" : path);
      fresh();
    } catch (error) {
      replace(said, failure(error));
    }
  }

  async function runPreview() {
    replace(result, card("Preview", null, h("p", {class: "soft"}, "Recorded requests are decided under both …")));
    try {
      const got = await preview(signal => post("catalog/preview", {files: draft.edits()}, {signal}));
      if (got) replace(result, card("Preview", {class: "preview"}, previewOf(got.value)));
    } catch (error) {
      replace(result, card("Preview", null, failure(error)));
    }
  }

  async function save() {
    const files = draft.edits();
    const seen = Object.fromEntries(Object.keys(files).map(path => [path, draft.etag(path)]).filter(([, etag]) => etag));
    await done(async () => {
      const answer = await (await send("prompts", {method: "PUT", body: {files, seen}})).json();
      draft.drop();
      toast(`Saved as version ${answer.version}; it serves within a second.`);
      await load();
    });
  }

  async function startCanary() {
    await done(async () => {
      await post("canary", {files: draft.whole(), share: Number(share.value) / 100});
      toast(`The edits serve ${share.value}% of the sessions.`);
      location.hash = "#/catalog/canary";
    });
  }

  async function done(work) {
    try {
      replace(said);
      await work();
    } catch (error) {
      const stale = error.status === 412 ? " Somebody saved another version meanwhile: copy your text, discard, and edit anew." : "";
      replace(said, failure(Object.assign(error, {message: error.message + stale})));
    }
  }

  changes.addEventListener("toggle", drawChanges);
  buttons.preview = h("button", {type: "button", class: "first", on: {click: runPreview}}, "Preview");
  buttons.save = confirming("Save", "Save: it serves at once", save);
  buttons.canary = h("button", {type: "button", on: {click: startCanary}}, "Start a canary");
  buttons.discard = confirming("Discard", "Discard all edits", () => { draft.drop(); replace(result); show(draft.saved(open) === null ? "routing.yaml" : open); fresh(); });
  buttons.remove = h("button", {type: "button", on: {click: () => {
    draft.set(open, draft.text(open) === null ? draft.saved(open) : null);
    show(open);
    fresh();
  }}}, "Remove the target");
  replace(root, said, h("div", {class: "catalog"},
    h("section", {class: "card files", "aria-label": "Files"}, list),
    h("section", {class: "card edit", "aria-label": "Editor"}, h("div", {class: "card-head"}, title, checked), editor.node,
      h("div", {class: "bar"}, buttons.preview, buttons.save, h("span", {class: "bar"}, buttons.canary, " on ", share, " %"),
        h("span", {class: "end"}), buttons.remove, buttons.discard), changes)), result);
  void load();
}
