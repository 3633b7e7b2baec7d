// Keys that work from anywhere, and the dialog that shows them.
import { h } from "./dom.js";
import { dialog } from "./dialogs.js";
import { t } from "./i18n.js";

const shortcuts = new Map(); // by what is typed: "?", "/", "g c"
let begun = "";

/** Have `action` done when `keys` are typed and no text is being typed; the result ends that. */
export function shortcut(keys, about, action) {
  const entry = { about, action };
  shortcuts.set(keys, entry);
  return () => shortcuts.get(keys) === entry && shortcuts.delete(keys);
}

export function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target.matches?.("input, textarea, select");
    if (event.key === "Escape" && typing && !event.target.closest("dialog")) event.target.blur();
    if (typing || document.querySelector("dialog[open]")) return;
    const typed = begun ? `${begun} ${event.key}` : event.key;
    const found = shortcuts.get(typed);
    begun = !found && [...shortcuts.keys()].some((keys) => keys.startsWith(`${typed} `)) ? typed : "";
    if (!found) return;
    event.preventDefault();
    found.action();
  });
  shortcut("?", "keys.help", showKeys);
}

export function showKeys() {
  const rows = [...shortcuts].map(([keys, { about }]) =>
    h("div.key-row", {}, h("dt", {}, keys.split(" ").map((key) => h("kbd", {}, name(key)))), h("dd", {}, t(about))),
  );
  const more = ["↑ ↓ Enter", "Esc"].map((keys) =>
    h(
      "div.key-row",
      {},
      h("dt", {}, keys.split(" ").map((key) => h("kbd", {}, key))),
      h("dd", {}, t(keys === "Esc" ? "keys.escape" : "keys.list")),
    ),
  );
  dialog({ title: t("keys.title"), body: h("dl.keys", {}, rows, more) });
}

function name(key) {
  return key === "Escape" ? "Esc" : key;
}
