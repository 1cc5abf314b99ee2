// The service's API: JSON calls with the tab's key, and errors that say what is wrong.

const KEY = "llmrouter.key";

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: value => value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY),
};

/** What the service said instead of an answer. `status` 0 means that it was not reached. */
export class ApiError extends Error {
  constructor(status, message, detail = {}) {
    super(message);
    this.status = status;
    this.code = detail.code ?? "";
    this.param = detail.param ?? "";
    this.problems = detail.problems ?? [];
  }
}

/** The address of a path; relative to the page, so a base path needs no setting. */
export const address = path => new URL(path, document.baseURI.split("#")[0]);

/** One call. `body` is sent as JSON, or as it is when `type` names another media type. */
export async function send(path, {method = "GET", body, type = "application/json", headers = {}, signal} = {}) {
  const secret = key.get();
  const request = {method, signal, headers: {...headers}, cache: "no-store"};
  if (secret) request.headers["Authorization"] = `Bearer ${secret}`;
  if (body !== undefined) {
    request.headers["Content-Type"] = type;
    request.body = type === "application/json" ? JSON.stringify(body) : body;
  }
  let response;
  try {
    response = await fetch(address(path), request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The service does not answer.");
  }
  if (response.ok) return response;
  let detail = {};
  try {
    detail = (await response.json()).error ?? {};
  } catch { /* an error without a body says its status alone */ }
  throw new ApiError(response.status, detail.message ?? `The service answered ${response.status}.`, detail);
}

export async function get(path, options) {
  return (await send(path, options)).json();
}

export async function post(path, body, options = {}) {
  const response = await send(path, {method: "POST", body, ...options});
  return response.status === 204 ? null : response.json();
}

/** `path?name=value`, without what is empty. */
export function query(path, values) {
  const given = Object.entries(values).filter(([, v]) => v !== "" && v !== null && v !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** Runs works one after the other so that only the newest one's result counts: an earlier one is
 *  aborted, and gives null should it answer all the same. */
export function latest() {
  let newest = null;
  return async function run(work) {
    newest?.abort();
    const mine = newest = new AbortController();
    try {
      const value = await work(mine.signal);
      return newest === mine ? {value} : null;
    } catch (error) {
      if (newest !== mine || error.name === "AbortError") return null;
      throw error;
    }
  };
}
