// The answer to a request, shown as it streams, then what it took.

import {ApiError, send} from "./api.js";
import {h, pill, replace, table} from "./dom.js";
import {count, ms, usd} from "./format.js";

/** Executes a request and shows its answer in `node`. Throws ApiError. */
export async function complete(request, node, signal) {
  const text = h("pre", {class: "prompt answer", tabindex: 0}), said = h("div");
  replace(node, h("h3", null, "Answer"), text, said);
  const response = await send("complete", {method: "POST", body: {...request, stream: true}, signal});
  let router = null;
  for await (const data of events(response)) {
    if (data.error) throw new ApiError(response.status, data.error.message, data.error);
    text.append(data.choices?.[0]?.delta?.content ?? "");
    router = data.router ?? router;
  }
  if (router) replace(said, tookOf(router));
}

/** The JSON data of server-sent events, however they are cut into pieces. */
export async function* events(response) {
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let rest = "";
  for (;;) {
    const {done, value} = await reader.read();
    rest += done ? decoder.decode() : decoder.decode(value, {stream: true});
    const lines = rest.split(/\r\n|\n|\r/);
    rest = done ? "" : lines.pop();
    for (const line of lines) {
      const data = line.startsWith("data:") ? line.slice(5).trim() : "";
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
    if (done) return;
  }
}

function tookOf(router) {
  return [
    table("Attempts", [
      {title: "attempt", of: a => a.target, cls: "strong"},
      {title: "outcome", of: a => pill(a.outcome, {ok: "good", failed: "bad", rejected: "warn"}[a.outcome] ?? "")},
      {title: "time", num: true, of: a => ms(a.latency_ms)},
      {title: "cost", num: true, of: a => usd(a.cost_usd)},
      {title: "why", of: a => a.reason || "–", cls: "wrap"},
    ], router.attempts),
    h("p", {class: "soft"}, `${usd(router.cost_usd)} in all, ${ms(router.latency_ms)}, ${count(router.attempts.length)} attempts.`),
  ];
}
