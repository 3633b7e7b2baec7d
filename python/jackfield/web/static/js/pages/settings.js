// The hub as it is, and how this console looks and speaks.
import { get, post } from "../api.js";
import { form, notice } from "../dialogs.js";
import { fill, h } from "../dom.js";
import { count, safe, size, wholeMoment } from "../format.js";
import { chooseLanguage, currentLanguage, languages, t } from "../i18n.js";
import { chooseTheme, theme, themes } from "../prefs.js";

export function page(app) {
  return new Settings(app);
}

class Settings {
  constructor(app) {
    this.app = app;
    this.title = t("nav.settings");
    this.hub = h("dl.facts.wide");
    this.listeners = h("div");
    this.scripts = h("div");
    this.element = h(
      "div.page",
      {},
      h("header.page-head", {}, h("h1", {}, this.title)),
      h(
        "div.two-columns",
        {},
        h("section.card.block", { "aria-label": t("settings.look") }, h("header", {}, h("h2", {}, t("settings.look"))), this.look()),
        h("section.card.block", { "aria-label": t("settings.you") }, h("header", {}, h("h2", {}, t("settings.you"))), this.you()),
      ),
      h("section.card.block", { "aria-label": t("settings.listeners") }, h("header", {}, h("h2", {}, t("settings.listeners"))), this.listeners),
      h("section.card.block", { "aria-label": t("settings.hub") }, h("header", {}, h("h2", {}, t("settings.hub"))), this.hub, this.scripts),
    );
    this.load();
  }

  look() {
    const choose = (label, id, options, change) =>
      h("div.field", {}, h("label", { for: id }, label), h("select", { id, onchange: (event) => change(event.target.value) }, options));
    return h(
      "div.stack",
      {},
      choose(
        t("settings.language"),
        "language",
        Object.entries(languages()).map(([key, name]) => h("option", { value: key, selected: key === currentLanguage() }, name)),
        (name) => {
          chooseLanguage(name);
          location.reload();
        },
      ),
      choose(
        t("settings.theme"),
        "theme",
        themes().map((each) => h("option", { value: each, selected: each === theme() }, t(`theme.${each}`))),
        chooseTheme,
      ),
    );
  }

  you() {
    const { name, role, expires, operator } = this.app.session;
    const ends = Date.now() / 1000 + (expires ?? 0);
    return h(
      "div.stack",
      {},
      h(
        "dl.facts",
        {},
        [
          [t("settings.link"), safe(name)],
          [t("settings.operator"), safe(operator)],
          [t("settings.role"), t(`role.${role}`)],
          [t("settings.ends"), expires ? wholeMoment(ends) : "–"],
        ].map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value))),
      ),
      h(
        "div.row",
        {},
        h("button", { type: "button", onclick: () => this.logout() }, t("settings.logout")),
        h("a.button", { href: "/api/v1/openapi.json", target: "_blank", rel: "noreferrer" }, t("settings.api")),
      ),
    );
  }

  update() {}

  again() {
    this.load();
  }

  async load() {
    const status = await this.app.live.request("status").catch(() => null);
    if (!status) return;
    const facts = [
      ["version", status.version],
      ["pid", String(status.pid)],
      ["since", wholeMoment(status.since)],
      ["clients", `${count(status.clients)} / ${count(status.max_clients)}`],
      ["queue", size(status.queue_limit)],
      ["message", size(status.message_limit)],
      ["memory", size(status.memory)],
      ["descriptors", `${count(status.descriptors)} / ${count(status.descriptors_limit)}`],
      ["state", status.state ? safe(status.state) : t("settings.nothing")],
      ["problem", safe(status.state_problem)],
      ["config", status.config ? safe(status.config) : t("settings.nothing")],
    ].filter(([, value]) => value);
    fill(this.hub, facts.map(([key, value]) => h("div", {}, h("dt", {}, t(`settings.${key}`)), h("dd", {}, value))));
    fill(
      this.listeners,
      h(
        "ul.rows",
        {},
        status.listeners.map(({ address, framing, clients, refused }) =>
          h(
            "li",
            {},
            h("code.grow", {}, safe(address)),
            h("span.muted.small", {}, `${t("client.framing")}: ${safe(framing)}`),
            h("span", {}, t("settings.count", { n: count(clients) })),
            refused ? h("span.bad", {}, t("settings.refused", { n: count(refused) })) : null,
          ),
        ),
      ),
    );
    const found = await get("script_list").catch(() => ({ scripts: [] }));
    if (found.scripts.length) {
      fill(this.scripts, h("h3", {}, t("settings.scripts")), h("ul.rows", {}, found.scripts.map(({ path, problem }) => h("li", {}, h("code.grow", {}, safe(path)), problem ? h("span.bad", {}, safe(problem)) : null))));
    }
  }

  logout() {
    form({
      title: t("settings.logout"),
      about: t("settings.logout.about"),
      fields: [],
      action: t("settings.logout"),
      done: async () => {
        await post("logout").catch((problem) => notice(problem.message, { bad: true }));
        location.replace("/login");
      },
    });
  }
}
