// What an edit would change: the headline first, then targets, cost, and what is not known.

import {h, table} from "./dom.js";
import {count, percent, usd, words} from "./format.js";

/** The report of `POST /catalog/preview`. */
export function previewOf(report) {
  const change = report.before_usd > 0 ? (report.after_usd - report.before_usd) / report.before_usd : null;
  return [
    h("p", {class: "lead headline"}, report.headline),
    h("dl", {class: "facts"}, [
      ["recorded", `${count(report.replayed)} of ${count(report.recorded)}`],
      ["moved", `${count(report.moved)} (${percent(report.moved / (report.replayed || 1))})`],
      ["cost before", usd(report.before_usd)], ["after", usd(report.after_usd)],
      ["change", change === null ? "–" : `${change > 0 ? "+" : ""}${percent(change)}`],
    ].map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))),
    part("What was edited", list(report.changes?.map(one => one.text))),
    part("Where requests move", report.moves?.length ? table("Moves", [
      {title: "from", of: one => one.before ?? one.from ?? "–", cls: "strong"}, {title: "to", of: one => one.after ?? one.to ?? "–", cls: "strong"},
      {title: "requests", num: true, of: one => count(one.count ?? one.requests)},
      ...(report.moves[0].before_usd === undefined ? [] : [
        {title: "cost before", num: true, of: one => usd(one.before_usd)}, {title: "after", num: true, of: one => usd(one.after_usd)}]),
    ], report.moves) : null),
    part("By task", report.tasks?.length ? table("Tasks", columnsOf(report.tasks), report.tasks) : null),
    part("No target could serve", list(report.refusals?.map(said))),
    part("Warnings", list(report.warnings?.map(said))),
    part("What this does not know", list(report.notes?.map(said))),
  ];
}

const part = (title, content) => content && h("div", {class: "part"}, h("h3", null, title), content);
const said = one => typeof one === "string" ? one : one.text ?? one.message ?? JSON.stringify(one);
const list = texts => texts?.length ? h("ul", null, texts.map(text => h("li", null, text))) : null;

function columnsOf(rows) {
  return Object.keys(rows[0]).filter(name => typeof rows[0][name] !== "object" || rows[0][name] === null).map(name => ({
    title: words(name), num: typeof rows[0][name] === "number",
    of: row => typeof row[name] === "number" ? (name.endsWith("_usd") ? usd(row[name]) : count(row[name])) : String(row[name] ?? "–"),
  }));
}
