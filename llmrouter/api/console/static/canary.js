// The canary: both arms beside each other, what they amount to, and its end.

import {get, latest, post} from "./api.js";
import {bar, card, h, pill, replace, table} from "./dom.js";
import {ago, count, ms, percent, usd} from "./format.js";
import {toast} from "./toast.js";
import {confirming, failure} from "./widgets.js";

const VERDICTS = {better: "good", worse: "bad", "not yet known": "warn"};
const STATES = {running: "accent", "rolled back": "bad", promoted: "good"};

export function canaryPanel(root, every) {
  const run = latest(), said = h("div"), body = h("div");
  let shown = "";

  async function load() {
    try {
      const got = await run(signal => get("canary", {signal}));
      if (!got || JSON.stringify(got.value) === shown) return;
      shown = JSON.stringify(got.value);
      replace(body, draw(got.value));
    } catch (error) {
      replace(said, failure(error));
    }
  }

  async function end(path, done) {
    try {
      await post(path);
      toast(done);
      replace(said);
      await load();
    } catch (error) {
      replace(said, failure(error));
    }
  }

  function draw(one) {
    if (one.status === "none") return h("p", null, "No canary has run yet. ", h("a", {href: "#/catalog"}, "Edit the catalog"),
      ", then start one: the edits serve a share of the sessions, and are judged against the rest by grades, failures, cost and latency.");
    const running = one.status === "running";
    return [
      h("p", {class: "verdict"}, pill(one.status, STATES[one.status] ?? ""), running || one.status === "rolled back" ? pill(one.verdict, VERDICTS[one.verdict]) : null,
        h("span", null, `${percent(one.share, 0)} of the sessions, started ${ago(one.started_at)}`)),
      one.reasons?.length ? h("ul", null, one.reasons.map(why => h("li", null, why)))
        : running && h("p", {class: "soft"}, "The test holds however often one looks; it says so once the figures suffice."),
      table("Both arms", [
        {title: "catalog", of: row => row.name, cls: "strong"},
        {title: "requests", num: true, of: row => count(row.requests)}, {title: "failed", num: true, of: row => count(row.failed)},
        {title: "graded", num: true, of: row => count(row.graded)},
        {title: "quality", of: row => row.quality === null ? "–" : bar(row.quality, percent(row.quality))},
        {title: "cost a request", num: true, of: row => usd(row.usd_per_request)}, {title: "latency", num: true, of: row => ms(row.latency_ms)},
      ], Object.entries(one.arms).map(([name, arm]) => ({name, ...arm}))),
      running && h("div", {class: "bar"},
        confirming("Promote", "Make it the catalog for all", () => end("canary/promote", "Promoted: its files are the catalog."), "first"),
        confirming("Stop", "Stop the canary", () => end("canary/stop", "Stopped: every session has the current catalog."))),
    ];
  }

  replace(root, said, card("Canary", null, body));
  every(2, load);
  void load();
}
