// Says in a corner what was done.

import {h, replace} from "./dom.js";

let timer = 0;

export function toast(text, cls = "") {
  const box = document.getElementById("toast");
  replace(box, h("p", {class: `toast ${cls}`}, text));
  clearTimeout(timer);
  timer = setTimeout(() => replace(box), 6000);
}
