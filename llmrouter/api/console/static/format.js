// Numbers, money and times as people read them. Everything takes null and says "–".

const known = value => typeof value === "number" && Number.isFinite(value);
const digits = (value, n) => value.toLocaleString("en", {maximumSignificantDigits: n});

export const count = value => known(value) ? Math.round(value).toLocaleString("en") : "–";

export function short(value) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e6) return `${digits(value / 1e6, 3)}M`;
  if (size >= 1e4) return `${digits(value / 1e3, 3)}k`;
  return digits(value, 3);
}

export function usd(value) {
  if (!known(value)) return "–";
  const size = Math.abs(value), sign = value < 0 ? "−" : "";
  if (size === 0) return "$0";
  if (size < 1e-6) return `${sign}<$0.000001`;
  if (size < 0.01) return `${sign}$${size.toFixed(6).replace(/0+$/, "")}`;
  return `${sign}$${size.toLocaleString("en", {minimumFractionDigits: 2, maximumFractionDigits: size < 1 ? 4 : 2})}`;
}

export const percent = (value, places = 1) => known(value) ? `${(100 * value).toFixed(places)}%` : "–";

export function ms(value) {
  if (!known(value)) return "–";
  if (value < 1) return `${digits(value, 2)} ms`;
  if (value < 1000) return `${digits(value, 3)} ms`;
  if (value < 60_000) return `${digits(value / 1000, 3)} s`;
  return `${digits(value / 60_000, 3)} min`;
}

export function ago(at, now = Date.now() / 1000) {
  if (!known(at) || at <= 0) return "–";
  const s = Math.max(0, now - at);
  if (s < 1.5) return "now";
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  if (s < 129_600) return `${Math.round(s / 3600)} h ago`;
  return `${Math.round(s / 86_400)} days ago`;
}

export const when = at => known(at) && at > 0
  ? new Date(at * 1000).toLocaleString(undefined, {dateStyle: "medium", timeStyle: "medium"}) : "–";

export const words = key => String(key).replaceAll("_", " ");
