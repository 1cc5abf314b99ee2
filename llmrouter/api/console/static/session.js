// Whose key this tab uses: asks for one, tries it, and says what is wrong with it.

import {get, key} from "./api.js";
import {replace} from "./dom.js";

const NOBODY = {name: "", admin: false, open: false, has_admin_key: true, can: {}, records_prompts: false};
let known = NOBODY;

/** What `/whoami` said last. */
export const me = () => known;

/** Asks the service again who this is; asks the reader for a key where one is needed. */
export async function refreshMe() {
  try {
    known = await get("whoami");
    label();
    return true;
  } catch (error) {
    known = NOBODY;
    label();
    if (error.status === 401) askForKey(key.get() ? error.message : "");
    return false;
  }
}

function label() {
  const who = known.admin ? (known.has_admin_key ? "admin key" : "open to this machine")
    : known.name === "anonymous" ? "no key" : known.name ? `key of ${known.name}` : "no key";
  replace(document.getElementById("who"), who);
}

const dialog = () => document.getElementById("keydialog");

/** Opens the dialog; `said` is what was wrong. */
export function askForKey(said = "", why = "") {
  const reason = why || (known.open && !known.has_admin_key
    ? "This service is open to this machine: no key is needed."
    : known.open ? "Reading needs no key. Changing anything takes the admin key."
      : "This service is for holders of a key. Changing anything takes the admin key.");
  replace(document.getElementById("keywhy"), reason);
  replace(document.getElementById("keysaid"), said);
  document.getElementById("key").value = "";
  if (!dialog().open) dialog().showModal();
}

/** Why a key is not what was hoped for, or "" where it is. Throws what the service says. */
async function tried(secret) {
  const before = key.get();
  key.set(secret);
  try {
    known = await get("whoami");
  } catch (error) {
    key.set(before);
    if (error.status === 401) return "Wrong key: this service does not know it.";
    return error.message;
  }
  if (known.open && known.has_admin_key && !known.admin) {
    key.set(before);
    return "Wrong admin key. Reading needs none, so only the admin key has a use here.";
  }
  return "";
}

function changed() {
  label();
  document.dispatchEvent(new CustomEvent("key-changed"));
}

document.getElementById("keyclose").addEventListener("click", () => dialog().close());
document.getElementById("keyform").addEventListener("submit", async event => {
  event.preventDefault();
  const field = document.getElementById("key"), said = document.getElementById("keysaid");
  if (event.submitter?.value === "forget") {
    key.set("");
    dialog().close();
    await refreshMe();
    return changed();
  }
  if (!field.value) return replace(said, "Type a key first.");
  const wrong = await tried(field.value.trim());
  replace(said, wrong);
  if (wrong) return field.select();
  dialog().close();
  return changed();
});
