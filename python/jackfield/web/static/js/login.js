// The page of a one-time link: the code stands behind the #, which no server and no log is told.
import { post } from "./api.js";
import { fill, h } from "./dom.js";
import { loadLanguage, t } from "./i18n.js";
import { applyTheme } from "./prefs.js";
import { mark } from "./brand.js";

applyTheme();
await loadLanguage();
const said = h("p", { role: "status" });
const help = h("div", {});
const field = h("input", { type: "text", id: "code", autocomplete: "off", spellcheck: "false" });
const form = h(
  "form.stack",
  {
    onsubmit: (event) => {
      event.preventDefault();
      login(field.value.trim().replace(/^.*#/, ""));
    },
  },
  h("label", { for: "code" }, t("login.link")),
  field,
  h("button.primary", { type: "submit" }, t("login.go")),
);
document.title = `${t("login.title")} · Jackfield`;
document.body.append(h("main.login", {}, mark(), h("h1", {}, t("login.title")), said, help, form));
fill(help, h("p.muted", {}, t("login.how")), h("pre", { tabindex: "0" }, "jackfield console --web"));

async function login(code) {
  said.className = "";
  said.textContent = t("login.wait");
  try {
    await post("login", { code });
    location.replace("/");
  } catch (problem) {
    said.className = "bad";
    said.textContent = problem.code === "lost" ? t("login.lost") : t(`login.${problem.code}`);
    if (said.textContent === `login.${problem.code}`) said.textContent = problem.message;
  }
}

const code = location.hash.slice(1);
history.replaceState(null, "", "/login");
if (code) login(code);
else {
  fetch("/api/v1/session").then((answer) => answer.ok && location.replace("/"));
}
