// Dialogs, questions and short notices.
import { fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";

/** A dialog over the page; Escape and the cross close it. The result closes it, too. */
export function dialog({ title, body, actions = [], onclose = () => {} }) {
  const back = document.activeElement;
  const heading = h("h2", { id: "dialog-title", tabindex: "-1" }, title);
  const element = h(
    "dialog",
    { "aria-labelledby": "dialog-title" },
    h(
      "div.dialog-head",
      {},
      heading,
      h("button.quiet.square", { type: "button", "aria-label": t("close"), onclick: () => element.close() }, icon("close")),
    ),
    h("div.dialog-body", {}, body),
    actions.length ? h("div.dialog-foot", {}, actions) : null,
  );
  element.addEventListener("close", () => {
    element.remove();
    onclose();
    if (back?.isConnected) back.focus();
  });
  document.body.append(element);
  element.showModal();
  const first = element.querySelector("input, textarea, select");
  (first ?? heading).focus();
  return () => element.close();
}

/**
 * A form in a dialog. `fields` are {name, label, value, kind, options, help}; `done(values)` does it and may throw,
 * which is shown in the dialog.
 */
export function form({ title, fields, action, done, danger = false, about = null }) {
  const made = fields.map((field) => ({ ...field, ...control(field) }));
  const problem = h("p.bad", { role: "alert" });
  const submit = h(danger ? "button.danger" : "button.primary", { type: "submit" }, action);
  const element = h(
    "form.stack",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        submit.disabled = true;
        fill(problem);
        try {
          await done(Object.fromEntries(made.map(({ name, read }) => [name, read()])));
          close();
        } catch (trouble) {
          fill(problem, explain(trouble));
        }
        submit.disabled = false;
      },
    },
    about ? h("p", {}, about) : null,
    made.map(({ element }) => element),
    problem,
    h("div.row.end", {}, h("button", { type: "button", onclick: () => close() }, t("cancel")), submit),
  );
  const close = dialog({ title, body: element });
}

/** A labelled control for a form: its element and `read`. */
export function control({ name, label, value = "", kind = "text", options = null, help = null, required = false }) {
  const id = `field-${name}`;
  const shared = { id, name, required, "aria-describedby": help ? `${id}-help` : null };
  let input;
  if (kind === "select") {
    input = h("select", shared, options.map(([key, words]) => h("option", { value: key, selected: key === value }, words)));
  } else if (kind === "area") {
    input = h("textarea", { ...shared, rows: "3", spellcheck: "false" }, value);
  } else if (kind === "check") {
    input = h("input", { ...shared, type: "checkbox", checked: Boolean(value) });
    return { element: h("label.check", {}, input, label), read: () => input.checked };
  } else {
    input = h("input", { ...shared, type: "text", value, autocomplete: "off", spellcheck: "false" });
  }
  const element = h(
    "div.field",
    {},
    h("label", { for: id }, label),
    input,
    help ? h("p.muted.small", { id: `${id}-help` }, help) : null,
  );
  return { element, input, read: () => input.value };
}

/** What an error of the hub says, with what to try. */
export function explain(problem) {
  return problem.hint ? `${problem.message} (${problem.hint})` : problem.message;
}

let notices = null;

/** A short notice at the edge; it goes by itself, and is read out. */
export function notice(text, { bad = false } = {}) {
  if (!notices?.isConnected) {
    notices = h("div.notices", { role: "status", "aria-live": "polite" });
    document.body.append(notices);
  }
  const element = h(bad ? "div.notice.bad" : "div.notice", {}, text);
  notices.append(element);
  while (notices.children.length > 4) notices.firstChild.remove();
  setTimeout(() => element.remove(), bad ? 8000 : 4000);
}
