// Keys: made, limited and revoked while the service runs. A secret is shown once.

import {get, post, query, send} from "./api.js";
import {bar, card, copyable, h, pill, replace, table} from "./dom.js";
import {ago, short, usd} from "./format.js";
import {toast} from "./toast.js";
import {confirming, failure} from "./widgets.js";

const UNITS = [["requests", "Requests"], ["tokens", "Tokens"], ["spend_usd", "USD"]];

export function mount(root, {me, every}) {
  if (!me.admin) {
    replace(root, h("h1", null, "Keys"), failure({status: 403, message: "Keys are for the admin key."}));
    return;
  }
  const said = h("div"), list = h("div"), made = h("div", {role: "status"});
  const fields = {name: input("Name", {required: true, placeholder: "alice"}), tier: input("Tier", {placeholder: "any"}),
    allow: input("Targets", {placeholder: "all, or a, b"}),
    ...Object.fromEntries(UNITS.map(([unit, label]) => [unit, input(label, {placeholder: unit === "spend_usd" ? "5/d" : "60/m", pattern: "[0-9.]+/[smhd]|[0-9.]+/[0-9]+[smhd]"})]))};

  async function load() {
    try {
      replace(list, tableOf((await get("keys")).keys));
    } catch (error) {
      replace(list, failure(error));
    }
  }

  async function create(event) {
    event.preventDefault();
    const value = name => fields[name].control.value.trim();
    const limits = Object.fromEntries(UNITS.map(([unit]) => [unit, value(unit)]).filter(([, text]) => text));
    const body = {name: value("name")};
    if (value("tier")) body.tier = value("tier");
    if (value("allow")) body.allow = value("allow").split(/[\s,|]+/).filter(Boolean);
    if (Object.keys(limits).length) body.limits = limits;
    try {
      const answer = await post("keys", body);
      replace(said);
      replace(made, h("div", {class: "notice"}, h("p", null, h("strong", null, `The key of ${answer.name}. `), "It is shown this once: copy it now."), copyable(answer.key)));
      event.target.reset();
      await load();
    } catch (error) {
      replace(said, failure(error));
    }
  }

  async function revoke(one) {
    try {
      await send(`keys/${encodeURIComponent(one.id)}`, {method: "DELETE"});
      toast(`The key of ${one.name} is revoked.`);
      await load();
    } catch (error) {
      replace(said, failure(error));
    }
  }

  function tableOf(keys) {
    return table("Keys", [
      {title: "name", of: one => h("a", {href: query("#/decisions", {key: one.name})}, one.name), cls: "strong"},
      {title: "tier", of: one => one.tier ?? "any"},
      {title: "targets", cls: "wrap", of: one => one.allow ? one.allow.join(", ") : "all"},
      {title: "limits", of: one => limitsOf(one)},
      {title: "made", of: one => one.created_at ? ago(one.created_at) : pill("environment")},
      {title: "", of: one => one.id ? confirming(`Revoke ${one.name}`, `Really revoke ${one.name}`, () => revoke(one), "small") : null},
    ], keys, "There is no key: the service is open to this machine.");
  }

  replace(root, h("h1", null, "Keys"), said,
    card("Make a key", null, h("form", {class: "newkey", on: {submit: create}},
      h("div", {class: "fields"}, Object.values(fields).map(one => one.node)),
      h("div", {class: "bar"}, h("button", {class: "first"}, "Make the key"),
        h("span", {class: "soft"}, "Limits are of a window: 60/m, 1000/h, 5/d."))), made),
    card("Keys", null, list));
  every(10, () => !list.contains(document.activeElement) && load());
  void load();
}

function input(label, attributes) {
  const control = h("input", {autocomplete: "off", ...attributes});
  return {control, node: h("label", {class: "field"}, label, control)};
}

function limitsOf(one) {
  const usage = Object.fromEntries((one.usage ?? []).map(row => [row.unit, row]));
  const limits = Object.entries(one.limits ?? {});
  if (!limits.length) return h("span", {class: "soft"}, "none");
  return limits.map(([unit, limit]) => {
    const used = usage[unit], shown = value => unit === "spend_usd" ? usd(value) : short(value);
    return h("div", null, used ? bar(used.used / used.limit, `${shown(used.used)} of ${limit} ${unit.replace("_usd", "")}`) : `${limit} ${unit}`);
  });
}
