// Edits of the catalog's files that are not saved yet. They live as long as the tab.

const edited = new Map();
let base = {files: {}, version: ""};

export const draft = {
  /** Takes the saved files, as `/prompts` gives them; what equals them is no edit any more. */
  rebase(saved) {
    base = saved;
    for (const [path, text] of [...edited]) if ((saved.files[path]?.text ?? null) === text) edited.delete(path);
  },
  saved: path => base.files[path]?.text ?? null,
  etag: path => base.files[path]?.etag ?? null,
  version: () => base.version,
  /** A file's text as edited or saved; null where there is none. */
  text: path => edited.has(path) ? edited.get(path) : draft.saved(path),
  set(path, text) {
    if (text === draft.saved(path)) edited.delete(path);
    else edited.set(path, text);
  },
  drop: path => path === undefined ? edited.clear() : edited.delete(path),
  isEdited: path => edited.has(path),
  changed: () => edited.size > 0,
  paths: () => [...new Set([...Object.keys(base.files), ...edited.keys()])],
  /** What to send to check, preview or save: `{path: text or null}`. */
  edits: () => Object.fromEntries(edited),
  /** Every file with the edits laid over: a whole catalog, as a canary takes it. */
  whole: () => Object.fromEntries(draft.paths().map(path => [path, draft.text(path)]).filter(([, text]) => text !== null)),
};
