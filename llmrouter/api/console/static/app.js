// The shell: which page shows, whose key is used, and whether the service is ready.

import {address, key} from "./api.js";
import {h, replace} from "./dom.js";
import {askForKey, me, refreshMe} from "./session.js";

const PAGES = [
  {path: "", title: "Overview", load: () => import("./overview.js")},
  {path: "decisions", title: "Decisions", load: () => import("./decisions.js")},
  {path: "playground", title: "Playground", load: () => import("./playground.js")},
  {path: "learning", title: "Learning", load: () => import("./learning.js")},
  {path: "catalog", title: "Catalog", load: () => import("./catalog.js")},
  {path: "keys", title: "Keys", load: () => import("./keys.js")},
];
const main = document.getElementById("main");
const nav = document.getElementById("nav");
let leave = () => {};
let turn = 0;

function place() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  return {name, rest, search: new URLSearchParams(search)};
}

async function show() {
  const mine = ++turn, where = place();
  const page = PAGES.find(one => one.path === where.name);
  if (!page) return void location.replace("#/");
  const shown = nav.querySelector("[aria-current]");
  if (shown?.dataset.path === page.path && main.dataset.follows === page.path && main.moved?.(where)) return;
  leave();
  leave = () => {};
  main.moved = null;
  for (const link of nav.children) {
    if (link.dataset.path === page.path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${page.title} · llmrouter`;
  const root = h("div", {class: `page page-${page.path || "overview"}`});
  replace(main, root);
  const ended = new AbortController();
  const every = (seconds, run) => {
    const timer = setInterval(() => document.hidden || run(), seconds * 1000);
    ended.signal.addEventListener("abort", () => clearInterval(timer));
  };
  leave = () => ended.abort();
  const module = await page.load();
  if (mine !== turn) return;
  main.dataset.follows = page.path;
  main.moved = module.mount(root, {where, me: me(), every, signal: ended.signal}) ?? null;
}

async function status() {
  const box = document.getElementById("status");
  let text = "not reached", cls = "bad", title = "";
  try {
    const answer = await fetch(address("readyz"), {
      cache: "no-store", headers: key.get() ? {Authorization: `Bearer ${key.get()}`} : {}});
    const body = await answer.json();
    text = body.status;
    cls = answer.ok ? "good" : "bad";
    title = `catalog ${body.catalog?.version ?? "none"}, ${body.catalog?.usable ?? 0} of ${body.catalog?.targets ?? 0} targets can serve`;
    if (body.catalog?.problems?.length) { cls = "warn"; text = "catalog problem"; }
    if (body.store?.status === "unavailable") { cls = "warn"; text = "store unavailable"; }
  } catch { /* not reached */ }
  if (box.textContent === text && box.className === `status ${cls}`) return;
  box.className = `status ${cls}`;
  box.title = title;
  replace(box, text);
}

async function start() {
  replace(nav, PAGES.map(page => h("a", {href: `#/${page.path}`, "data-path": page.path}, page.title)));
  document.getElementById("who").addEventListener("click", () => askForKey());
  document.addEventListener("key-changed", () => { main.moved = null; void status(); void show(); });
  addEventListener("hashchange", () => void show());
  void status();
  setInterval(() => document.hidden || void status(), 5000);
  await refreshMe();
  await show();
}

void start();
