// Small plots as SVG: quality against cost, reliability, and sparklines. Each point has its text.

import {h, svg} from "./dom.js";
import {percent, usd} from "./format.js";

const W = 360, H = 220, LEFT = 44, RIGHT = 12, TOP = 12, BOTTOM = 30;
const across = share => LEFT + share * (W - LEFT - RIGHT);
const up = share => H - BOTTOM - share * (H - TOP - BOTTOM);

/** Quality (0..1) against USD on a logarithmic axis. `points`: {name, usd, quality, kind: "dot" |
 *  "dot taken" | "belief", colour, text}; `line`: names of beliefs that make the frontier, cheapest first. */
export function costPlot(label, points, line) {
  const costs = points.map(one => one.usd).filter(v => v > 0);
  if (!costs.length) return h("p", {class: "soft"}, "No costs yet.");
  const low = Math.log10(Math.min(...costs)) - 0.15, high = Math.log10(Math.max(...costs)) + 0.15;
  const x = value => across((Math.log10(Math.max(value, 10 ** low)) - low) / Math.max(high - low, 0.3));
  const floor = Math.max(0, Math.floor(10 * Math.min(...points.map(one => one.quality))) / 10 - 0.1);
  const y = value => up((value - floor) / (1.02 - floor));
  const root = svg("svg", {class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label});
  for (let quality = floor; quality <= 1.001; quality += floor >= 0.6 ? 0.1 : 0.2) {
    root.append(svg("line", {class: "axis", x1: LEFT, x2: W - RIGHT, y1: y(quality), y2: y(quality)}),
      svg("text", {x: LEFT - 8, y: y(quality) + 4, "text-anchor": "end"}, percent(quality, 0)));
  }
  const ticks = decades(low, high);
  for (const value of ticks) {
    root.append(svg("text", {x: x(value), y: H - 10, "text-anchor": "middle"}, usd(value)));
  }
  const beliefs = new Map(points.filter(one => one.kind === "belief").map(one => [one.name, one]));
  const path = line.map(name => beliefs.get(name)).filter(Boolean);
  if (path.length > 1) {
    root.append(svg("polyline", {class: "frontier", points: path.map(p => `${x(p.usd)},${y(p.quality)}`).join(" ")}));
  }
  for (const one of points) {
    const mark = one.kind === "belief"
      ? svg("circle", {class: "belief", cx: x(one.usd), cy: y(one.quality), r: 4.5})
      : svg("circle", {class: one.kind, cx: x(one.usd), cy: y(one.quality), r: one.size ?? 6});
    mark.style.setProperty("--c", one.colour);
    mark.append(svg("title", null, one.text));
    root.append(mark);
  }
  labels(root, points, x, y);
  return root;
}

function decades(low, high) {
  const found = [];
  for (let power = Math.ceil(low); power <= high; power += 1) found.push(10 ** power);
  if (found.length > 1) return found;
  return [10 ** (low + 0.15), 10 ** (high - 0.15)].filter((v, n, all) => !n || v / all[0] > 1.5);
}

/** Names beside points, as far as they do not run into each other. */
function labels(root, points, x, y) {
  const taken = points.map(one => ({x: x(one.usd) - 4, y: y(one.quality) - 4, w: 8, h: 8}));
  const best = new Map();
  for (const one of points) if (one.kind !== "belief" || !best.has(one.name)) best.set(one.name, one);
  for (const one of [...best.values()].sort((a, b) => b.quality - a.quality)) {
    const width = one.name.length * 5.7, right = x(one.usd) + 9 + width < W;
    const box = {x: right ? x(one.usd) + 9 : x(one.usd) - 9 - width, y: y(one.quality) - 7, w: width, h: 14};
    if (taken.some(t => t.x < box.x + box.w && box.x < t.x + t.w && t.y < box.y + box.h && box.y < t.y + t.h)) continue;
    taken.push(box);
    root.append(svg("text", {class: "name", x: box.x, y: box.y + 11}, one.name));
  }
}

/** What came of what was expected. `curves`: {name, colour, bins: [[probability, grade, weight]]}. */
export function reliabilityPlot(label, curves) {
  const root = svg("svg", {class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label});
  for (let tick = 0; tick <= 1.001; tick += 0.25) {
    root.append(svg("line", {class: "axis", x1: LEFT, x2: W - RIGHT, y1: up(tick), y2: up(tick)}),
      svg("text", {x: LEFT - 8, y: up(tick) + 4, "text-anchor": "end"}, percent(tick, 0)),
      svg("text", {x: across(tick), y: H - 10, "text-anchor": "middle"}, percent(tick, 0)));
  }
  root.append(svg("line", {class: "ideal", x1: across(0), y1: up(0), x2: across(1), y2: up(1)}));
  for (const {name, colour, bins} of curves) {
    const points = bins.map(([p, grade]) => `${across(p)},${up(grade)}`).join(" ");
    const line = svg("polyline", {class: "line", points});
    line.style.setProperty("--c", colour);
    root.append(line);
    for (const [p, grade, weight] of bins) {
      const dot = svg("circle", {class: "dot", cx: across(p), cy: up(grade), r: Math.min(2.5 + Math.sqrt(weight) / 2, 8)},
        svg("title", null, `${name}: ${percent(p)} expected, ${percent(grade)} came true, of ${Math.round(weight)}`));
      dot.style.setProperty("--c", colour);
      root.append(dot);
    }
  }
  return root;
}

/** A line of qualities (0..1) a day, oldest first; days without any are left out. */
export function spark(daily) {
  const known = (daily ?? []).map((v, i) => [i, v]).filter(([, v]) => typeof v === "number");
  if (known.length < 2) return h("span", {class: "soft"}, "–");
  const x = i => 3 + 84 * i / Math.max(1, daily.length - 1), y = v => 17 - 14 * v;
  const [i, v] = known.at(-1);
  const line = svg("polyline", {class: "line", points: known.map(([i, v]) => `${x(i)},${y(v)}`).join(" ")});
  const dot = svg("circle", {class: "dot", cx: x(i), cy: y(v), r: 2.5});
  for (const one of [line, dot]) one.style.setProperty("--c", "var(--accent)");
  return svg("svg", {class: "spark", viewBox: "0 0 90 20", role: "img",
    "aria-label": `quality a day: ${known.map(([, v]) => percent(v, 0)).join(", ")}`}, line, dot);
}
