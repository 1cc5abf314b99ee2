// Differences of texts, line by line, and how they are shown.

import {h} from "./dom.js";

const AROUND = 3;

/** The lines of two texts in one order: [" " | "-" | "+", text]. */
export function diffLines(before, after) {
  const a = before.split("\n"), b = after.split("\n");
  let start = 0, end = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start += 1;
  while (end < Math.min(a.length, b.length) - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const left = a.slice(start, a.length - end), right = b.slice(start, b.length - end);
  const same = a.slice(0, start).map(line => [" ", line]), tail = a.slice(a.length - end).map(line => [" ", line]);
  return [...same, ...middle(left, right), ...tail];
}

/** By the longest common subsequence; of very long parts, the whole is one change. */
function middle(a, b) {
  if (a.length * b.length > 4_000_000) return [...a.map(l => ["-", l]), ...b.map(l => ["+", l])];
  const length = Array.from({length: a.length + 1}, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      length[i][j] = a[i] === b[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
    }
  }
  const out = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { out.push([" ", a[i]]); i += 1; j += 1; }
    else if (i < a.length && (j >= b.length || length[i + 1][j] >= length[i][j + 1])) out.push(["-", a[i++]]);
    else out.push(["+", b[j++]]);
  }
  return out;
}

const KINDS = {"-": ["del", "removed"], "+": ["ins", "added"], "@": ["hunk", ""]};

function line(mark, text) {
  const [cls, said] = KINDS[mark] ?? ["", ""];
  return h("div", {class: `diff-line ${cls}`}, h("span", {class: "mark", "aria-hidden": "true"}, mark === "@" ? "" : mark),
    said && h("span", {class: "visually-hidden"}, `${said}: `), text || " ");
}

/** Two texts' differences, with a few lines around each. */
export function diffView(label, before, after) {
  const all = diffLines(before ?? "", after ?? "");
  const near = new Set();
  all.forEach(([mark], n) => {
    if (mark !== " ") for (let at = n - AROUND; at <= n + AROUND; at += 1) near.add(at);
  });
  const shown = [];
  all.forEach(([mark, text], n) => {
    if (near.has(n)) shown.push(line(mark, text));
    else if (near.has(n - 1)) shown.push(line("@", "…"));
  });
  return box(label, shown.length ? shown : [line(" ", "No difference.")]);
}

/** A unified diff as the service gives it. */
export function unifiedView(label, text) {
  const lines = text.split("\n").filter(one => !/^(---|\+\+\+) /.test(one));
  while (lines.length && !lines.at(-1)) lines.pop();
  return box(label, lines.map(one => one.startsWith("@@") ? line("@", one) : line(one[0] ?? " ", one.slice(1))));
}

const box = (label, lines) => h("div", {class: "diff", role: "region", "aria-label": label, tabindex: 0}, lines);
