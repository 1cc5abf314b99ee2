// Builds elements. Text only ever becomes text nodes: what a model or a caller wrote cannot run.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("a", {class: "x", href: "#/"}, "text", child)`. `on` holds listeners, `vars`
 *  CSS variables; null and false attributes and children are left out. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    else if (name === "vars") for (const [key, one] of Object.entries(value)) node.style.setProperty(key, one);
    else if (name === "value") node.value = value;
    else if (name in PROPERTIES) node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  append(node, children);
  return node;
}

const PROPERTIES = {checked: 1, disabled: 1, selected: 1, hidden: 1, open: 1, readOnly: 1};

function append(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(node, child);
    else node.append(child instanceof Node ? child : String(child));
  }
}

/** Puts new children into a node, and keeps the focus on the element with the same `id`. */
export function replace(node, ...children) {
  const focused = node.contains(document.activeElement) ? document.activeElement.id : "";
  node.replaceChildren();
  append(node, children);
  if (focused) document.getElementById(focused)?.focus();
  return node;
}

/** A section with a heading: `card("Title", {class: "wide"}, ...)`. */
export function card(title, attributes, ...children) {
  const {class: cls = "", level = 2, aside, ...rest} = attributes ?? {};
  return h("section", {...rest, class: `card ${cls}`},
    h("div", {class: "card-head"}, h(`h${level}`, null, title), aside), children);
}

/** A box that scrolls sideways by itself and can be reached with the keyboard. */
export function scroller(label, ...children) {
  return h("div", {class: "scroll", role: "region", "aria-label": label, tabindex: 0}, children);
}

/** A table. A column: {title, of(row), num, cls}. A row with `href(row)` links its first cell. */
export function table(label, columns, rows, nothing = "Nothing yet.") {
  if (!rows.length) return h("p", {class: "soft"}, nothing);
  const cells = row => columns.map(({of, num, cls}) => {
    const value = of(row);
    const name = typeof cls === "function" ? cls(row) : cls;
    return h("td", {class: [num && "num", name].filter(Boolean).join(" ") || null}, value ?? "–");
  });
  return scroller(label, h("table", null,
    h("thead", null, h("tr", null, columns.map(
      ({title, num}) => h("th", {scope: "col", class: num ? "num" : null},
        title || h("span", {class: "visually-hidden"}, "actions"))))),
    h("tbody", null, rows.map(row => h("tr", row.attributes ?? null, cells(row))))));
}

/** A bar of a share, 0 to 1, with its text beside it. */
export function bar(share, text, cls = "") {
  const width = `${(100 * Math.min(Math.max(share || 0, 0), 1)).toFixed(2)}%`;
  return h("span", {class: `barred ${cls}`},
    h("span", {class: "track", "aria-hidden": "true"}, h("span", {class: "fill", vars: {"--w": width}})),
    h("span", {class: "barred-text"}, text));
}

export const pill = (text, cls = "") => h("span", {class: `pill ${cls}`}, text);

export function copyable(text) {
  const button = h("button", {type: "button", class: "copy", title: "Copy"}, text);
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(text);
    button.dataset.copied = "true";
    setTimeout(() => delete button.dataset.copied, 1200);
  });
  return button;
}
