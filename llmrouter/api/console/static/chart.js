// Lines and stacked bars over time: uPlot draws, the legend and the table below say it in text.

import {h, replace, table} from "./dom.js";

const PLOT_HEIGHT = 210;
export const colour = n => `var(--c${n % 10})`;

function resolved(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const clock = (step, at) => new Date(at * 1000).toLocaleString(undefined, step < 3600
  ? {hour: "2-digit", minute: "2-digit"} : step < 86_400 / 4
    ? {weekday: "short", hour: "2-digit", minute: "2-digit"} : {month: "short", day: "numeric", hour: "2-digit"});

/** A chart that is drawn again with `update({at, step, series})`; `series` are {label, values,
 *  colour}, where null means unknown. `options`: {title, format, stacked, sums}; sums add up in the legend. */
export function timeChart(options) {
  const area = h("div", {class: "chart-area", role: "img"});
  const legend = h("ul", {class: "legend"});
  const details = h("details", null, h("summary", null, "As a table"));
  const node = h("div", {class: "chart"}, area, legend, details);
  let plot = null, data = null;

  function draw() {
    if (!data || !area.isConnected || !area.clientWidth) return;
    plot?.destroy();
    area.replaceChildren();
    plot = new uPlot(settings(options, data, area.clientWidth, show), columns(options, data), area);
  }

  function show(index) {
    const at = index ?? data.at.length - 1;
    node.querySelector(".at").textContent = index === null ? (options.stacked || options.sums ? "in all" : "last") : clock(data.step, data.at[at]);
    legend.querySelectorAll("output").forEach((output, n) => {
      output.textContent = options.format(index === null ? whole(n) : data.series[n].values[at]);
    });
  }

  function whole(n) {
    const known = data.series[n].values.filter(v => v !== null);
    if (options.stacked || options.sums) return known.reduce((sum, v) => sum + v, 0);
    return known.at(-1) ?? null;
  }

  function update(fresh) {
    data = fresh;
    area.setAttribute("aria-label", `${options.title}: ${fresh.series.map(
      (one, n) => `${one.label} ${options.format(whole(n))}`).join(", ") || "nothing yet"}`);
    replace(legend, fresh.series.map(one => h("li", null,
      h("span", {class: "swatch", vars: {"--c": one.colour}}), one.label, h("output"))), h("li", {class: "at"}));
    show(null);
    if (details.open) list();
    draw();
  }

  function list() {
    const rows = data.at.map((at, n) => ({at, n})).filter(({n}) => data.series.some(s => s.values[n])).reverse();
    replace(details, h("summary", null, "As a table"), table(options.title, [
      {title: "from", of: row => clock(data.step, row.at)},
      ...data.series.map(one => ({title: one.label, num: true, of: row => options.format(one.values[row.n])})),
    ], rows));
  }

  details.addEventListener("toggle", () => details.open && data && list());
  new ResizeObserver(() => plot && Math.abs(plot.width - area.clientWidth) > 1 && draw()).observe(area);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return {node, update, draw};
}

/** uPlot's columns; a stack is drawn from the top, so its sums come first. */
function columns({stacked}, {at, series}) {
  if (!stacked) return [at, ...series.map(one => one.values)];
  const sums = [], below = at.map(() => 0);
  for (const one of series) {
    one.values.forEach((value, n) => { below[n] += value ?? 0; });
    sums.push(below.slice());
  }
  return [at, ...sums.reverse()];
}

function settings(options, {at, step, series}, width, show) {
  const text = resolved("--soft"), line = resolved("--line");
  const font = "12px system-ui, sans-serif";
  const drawn = options.stacked ? [...series].reverse() : series;
  const axis = {stroke: text, font, grid: {stroke: line, width: 1}, ticks: {show: false}};
  return {
    width, height: PLOT_HEIGHT, legend: {show: false}, padding: [8, 6, 0, 0],
    cursor: {y: false, drag: {x: false, y: false}, points: {size: 6}},
    scales: {x: {time: true, range: [at[0] - step / 2, at[at.length - 1] + step / 2]},
      y: {range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1]}},
    axes: [{...axis, grid: {show: false}, space: 64},
      {...axis, size: 62, space: 34, values: (_, ticks) => ticks.map(v => options.format(v))}],
    series: [{}, ...drawn.map(one => {
      const stroke = resolved(one.colour.slice(4, -1));
      return options.stacked
        ? {stroke, fill: stroke, width: 0, paths: uPlot.paths.bars({size: [0.78, 40], align: 0}), points: {show: false}}
        : {stroke, fill: one.filled ? `${stroke}22` : undefined, width: 2, spanGaps: true, points: {show: single(one.values), size: 5}};
    })],
    hooks: {setCursor: [plot => show(plot.cursor.idx ?? null)]},
  };
}

const single = values => values.filter(v => v !== null).length < 3;
