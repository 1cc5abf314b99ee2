// Versions of the catalog: who saved what and how, what differs, and the way back.

import {get, latest, post, query} from "./api.js";
import {unifiedView} from "./diff.js";
import {card, h, pill, replace, table} from "./dom.js";
import {ago, when} from "./format.js";
import {previewOf} from "./preview.js";
import {toast} from "./toast.js";
import {confirming, failure} from "./widgets.js";

export function versionsPanel(root) {
  const run = latest(), list = h("div"), shown = h("div", {class: "result"});
  let known = [], next = null;

  async function load(before = "") {
    try {
      const page = await get(query("prompts/versions", {limit: 20, before}));
      known = before ? [...known, ...page.versions] : page.versions;
      next = page.next;
      draw();
    } catch (error) {
      replace(list, failure(error));
    }
  }

  const files = one => [...(one.added ?? []).map(path => `+ ${path}`), ...(one.changed ?? []), ...(one.removed ?? []).map(path => `− ${path}`)];

  function draw() {
    replace(list, table("Versions", [
      {title: "version", of: one => one.version, cls: "strong"},
      {title: "when", of: one => h("span", {title: when(one.at)}, ago(one.at))},
      {title: "by", of: one => one.by ?? "–"}, {title: "how", of: one => pill(one.how)},
      {title: "files", cls: "wrap", of: one => summary(files(one))},
      {title: "", of: one => one === known[0] ? pill("on disk", "good") : h("span", {class: "bar"},
        h("button", {type: "button", class: "small", on: {click: () => compare(one)}}, `Diff ${one.version} to now`),
        h("button", {type: "button", class: "small", on: {click: () => preview(one)}}, `Preview ${one.version}`),
        confirming(`Revert to ${one.version}`, `Really go back to ${one.version}`, () => revert(one), "small"))},
    ], known, "Nothing was saved yet."),
    next && h("div", {class: "bar"}, h("button", {type: "button", on: {click: () => load(next)}}, "Older")));
  }

  async function show(title, ask, draw) {
    replace(shown, card(title, null, h("p", {class: "soft"}, "…")));
    try {
      const got = await run(ask);
      if (got) replace(shown, card(title, null, draw(got.value)));
    } catch (error) {
      replace(shown, card(title, null, failure(error)));
    }
  }

  const compare = one => show(`From version ${one.version} to what is on disk`,
    signal => get(query("prompts/diff", {from: one.version}), {signal}), found => [
      found.problem && h("p", {class: "warn"}, found.problem),
      found.changes?.length ? h("ul", null, found.changes.map(change => h("li", null, change.text))) : null,
      found.files.length ? found.files.map(file => [h("h3", null, `${file.path}, ${file.kind}`), unifiedView(file.path, file.diff)])
        : h("p", null, "No difference."),
    ]);

  const preview = one => show(`If version ${one.version} served again`,
    signal => post("catalog/preview", {version: one.version}, {signal}), previewOf);

  async function revert(one) {
    try {
      const answer = await post(`prompts/versions/${encodeURIComponent(one.version)}/revert`);
      toast(`Back at version ${one.version}, as version ${answer.version}.`);
      replace(shown);
      await load();
    } catch (error) {
      replace(shown, failure(error));
    }
  }

  replace(root, card("Versions", null, list), shown);
  void load();
}

function summary(names) {
  if (names.length <= 3) return names.join(", ") || "–";
  return h("details", null, h("summary", null, `${names.length} files`), names.join(", "));
}
