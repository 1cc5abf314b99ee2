// The catalog's files: a list to choose from, and an editor with line numbers.

import {h, pill, replace} from "./dom.js";
import {draft} from "./draft.js";

export const NEW_TARGET = `---
model: name-of-the-model
provider: openai
base_url: https://api.openai.com/v1
api_key_env: OPENAI_API_KEY
price: {input: 1.0, output: 4.0}   # USD per 1M tokens
context_window: 128000
max_output: 16000
capabilities: [tools]
---
What it is good at, what it is weak at, and when to choose it.
`;
const OTHERS = [["routing.yaml", "How requests are routed"], ["router.md", "The router LLM's prompt"], ["verifier.md", "The judge's prompt"]];

/** Buttons for every file; `open` is shown as the current one. */
export function fileList(open, show, add) {
  const targets = draft.paths().filter(path => path.startsWith("catalog/")).sort();
  const name = h("input", {id: "new-target", placeholder: "its id", pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*", required: true, "aria-label": "Id of a new target"});
  const entry = (path, text, hint) => h("li", null, h("button", {type: "button", class: "file", title: hint, "data-path": path,
    "aria-current": path === open ? "true" : null, on: {click: () => show(path)}}, h("span", null, text), state(path)));
  return [
    h("h2", null, "Routing"), h("ul", null, OTHERS.map(([path, hint]) => entry(path, path, hint))),
    h("h2", null, "Targets"), h("ul", null, targets.map(path => entry(path, path.slice(8, -3), path))),
    h("form", {class: "bar", on: {submit: event => {
      event.preventDefault();
      add(name.value.trim());
    }}}, name, h("button", {class: "small"}, "Add")),
  ];
}

function state(path) {
  const text = draft.text(path);
  if (draft.isEdited(path)) return text === null ? pill("removed", "bad") : draft.saved(path) === null ? pill("new", "good") : pill("edited", "warn");
  if (text !== null && /^enabled:\s*false/m.test(text)) return pill("off");
  return null;
}

/** A text area with line numbers; `mark(lines)` marks those with problems. */
export function codeEditor(changed) {
  const gutter = h("pre", {class: "gutter", "aria-hidden": "true"});
  const area = h("textarea", {class: "code", spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off",
    "aria-label": "Text of the file", on: {input: () => { number(); changed(area.value); }, scroll: () => { gutter.scrollTop = area.scrollTop; }}});
  const note = h("p", {class: "notice", hidden: true});
  const node = h("div", {class: "code-editor"}, note, gutter, area);
  let marked = new Set();

  function number() {
    const lines = area.value.split("\n").length;
    replace(gutter, Array.from({length: lines}, (_, n) => h("span", {class: marked.has(n + 1) ? "wrong" : null}, `${n + 1}\n`)));
    gutter.scrollTop = area.scrollTop;
  }

  return {
    node,
    set(text, hint) {
      area.value = text ?? "";
      area.disabled = text === null;
      note.hidden = !hint;
      note.textContent = hint;
      marked = new Set();
      number();
    },
    mark(lines) {
      marked = new Set(lines);
      if (marked.size) area.setAttribute("aria-invalid", "true");
      else area.removeAttribute("aria-invalid");
      number();
    },
  };
}
