// Controls that several pages use.

import {h} from "./dom.js";
import {askForKey} from "./session.js";

/** What went wrong, in words, with what can be done about it. */
export function failure(error) {
  const key = error.status === 401 || error.status === 403;
  return h("div", {class: "error", role: "alert"},
    h("strong", null, error.status === 403 ? "Not with this key. " : error.status === 401 ? "No access. " : ""),
    error.message ?? String(error),
    error.problems?.length ? problemList(error.problems) : null,
    key ? [" ", h("button", {type: "button", class: "small", on: {click: () => askForKey(error.message)}}, "Use another key")] : null);
}

/** Problems of catalog files, one a line. */
export function problemList(problems, cls = "") {
  return h("ul", {class: `problems ${cls}`}, problems.map(one => h("li", null,
    h("code", null, `${one.file}${one.line ? `:${one.line}` : ""}`), " ", one.message)));
}

let groups = 0;

/** One of a few: `choices` are [value, label]. */
export function segments(label, choices, chosen, pick) {
  const name = `segments-${++groups}`;
  return h("fieldset", {class: "segments-set"}, h("legend", {class: "visually-hidden"}, label),
    h("div", {class: "segments"}, choices.map(([value, text]) => h("label", null,
      h("input", {type: "radio", name, value, checked: value === chosen, on: {change: () => pick(value)}}), text))));
}

/** A labelled select; "" is any. */
export function select(label, values, chosen, pick, any = "any") {
  const options = [...new Set([...values, ...(chosen ? [chosen] : [])])];
  const field = h("select", {on: {change: event => pick(event.target.value)}},
    any === null ? null : h("option", {value: ""}, any),
    options.map(value => h("option", {value, selected: value === chosen}, value)));
  return h("label", {class: "field"}, label, field);
}

/** Calls `run` once nothing came for a while. */
export function debounced(delay, run) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...given), delay);
  };
}

/** A button that asks first: the first press shows `question`, a second one within a while runs. */
export function confirming(label, question, run, cls = "") {
  let timer = 0;
  const button = h("button", {type: "button", class: cls}, label);
  const calm = () => {
    clearTimeout(timer);
    delete button.dataset.asking;
    button.classList.remove("danger");
    button.textContent = label;
  };
  button.addEventListener("click", () => {
    if (button.dataset.asking) {
      calm();
      return void run();
    }
    button.dataset.asking = "true";
    button.classList.add("danger");
    button.textContent = `${question}?`;
    timer = setTimeout(calm, 6000);
  });
  button.addEventListener("blur", calm);
  return button;
}
