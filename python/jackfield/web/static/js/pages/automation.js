// What the hub does by itself: automatic replies, kept messages, and whom it dials.
import { post } from "../api.js";
import { form } from "../dialogs.js";
import { fill, h } from "../dom.js";
import { asText, bytesOf, count, safe } from "../format.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";

const ENDINGS = ["none", "default", "lf", "crlf", "cr", "nul"];

export function page(app) {
  return new Automation(app);
}

/** Ask for a new rule; `changed` is called when it is there. */
export function ruleForm(app, { to = "all", changed = () => {} } = {}) {
  form({
    title: t("rule.add"),
    fields: [
      { name: "pattern", label: t("rule.pattern"), help: t("rule.pattern.help") },
      { name: "reply", label: t("rule.reply"), help: t("send.escapes.help") },
      { name: "ending", label: t("send.ending"), kind: "select", options: endings(), value: "default" },
      { name: "to", label: t("rule.to"), value: to, help: t("send.target.help") },
      { name: "name", label: t("rule.name"), help: t("rule.name.help") },
    ],
    action: t("save"),
    done: async ({ pattern, reply, ending, to: target, name }) => {
      const { data } = await post("compose", { text: reply, form: "escapes" });
      await app.live.request("autoreply_add", { pattern, reply: data, ending, to: target || "all", ...(name ? { name } : {}) });
      changed();
    },
  });
}

function entry(parts) {
  return h("li", {}, h("div.parts", {}, parts.slice(0, -1)), parts.at(-1));
}

function endings() {
  return ENDINGS.map((each) => [each, t(`ending.${each}`)]);
}

class Automation {
  constructor(app) {
    this.app = app;
    this.title = t("nav.automation");
    this.rules = h("div.entries");
    this.snippets = h("div.entries");
    this.dials = h("div.entries");
    this.element = h(
      "div.page",
      {},
      h("header.page-head", {}, h("h1", {}, this.title)),
      this.section("rules", () => ruleForm(app, { changed: () => this.load() })),
      this.section("snippets", () => this.addSnippet()),
      this.section("dials", () => this.addDial()),
    );
    this.load();
  }

  section(name, add) {
    return h(
      "section.card.block",
      { "aria-label": t(`auto.${name}`) },
      h(
        "header",
        {},
        h("div", {}, h("h2", {}, t(`auto.${name}`)), h("p.muted", {}, t(`auto.${name}.about`))),
        h("button", { type: "button", onclick: add }, icon("plus"), t("add")),
      ),
      this[name],
    );
  }

  update() {}

  again() {
    this.load();
  }

  async load() {
    const snippets = [];
    const { live } = this.app;
    const [rules, , dials] = await Promise.all([
      live.request("autoreply_list").catch(() => null),
      live.stream("snippet_list", {}, (event) => snippets.push(event)).done.catch(() => null),
      live.request("dial_list").catch(() => null),
    ]);
    if (!rules || !dials) return;
    this.list(this.rules, "rules", rules.rules, (rule) => [
      h("strong", {}, safe(rule.name)),
      h("code", {}, safe(rule.pattern)),
      h("span.arrow-to", { "aria-hidden": "true" }, "→"),
      h("code", {}, asText(bytesOf(rule.reply))),
      h("span.muted.small", {}, `${safe(rule.to)} · ${t("rule.replied", { n: count(rule.sent) })}`),
      this.remove("autoreply_remove", rule.name),
    ]);
    this.list(this.snippets, "snippets", snippets, ({ snippet, data, ending }) => [
      h("strong", {}, safe(snippet)),
      h("code.grow", {}, asText(bytesOf(data))),
      h("span.muted.small", {}, t(`ending.${ending}`)),
      this.remove("snippet_remove", snippet),
    ]);
    this.list(this.dials, "dials", dials.dials, (dial) => [
      h("strong", {}, safe(dial.name)),
      h("code", {}, safe(dial.address)),
      h("span.muted.small.grow", {}, safe(dial.explain ?? dial.state)),
      this.remove("dial_remove", dial.name),
    ]);
  }

  list(where, name, items, parts) {
    if (items.length) fill(where, h("ul.rows", {}, items.map((item) => entry(parts(item)))));
    else fill(where, h("p.none.muted", {}, t(`auto.${name}.none`)));
  }

  remove(op, name) {
    return h(
      "button.quiet.square",
      {
        type: "button",
        "aria-label": t("remove.named", { name: safe(name) }),
        onclick: async () => {
          await this.app.attempt(op, { name });
          this.load();
        },
      },
      icon("close"),
    );
  }

  addSnippet() {
    form({
      title: t("snippet.add"),
      fields: [
        { name: "name", label: t("clients.name") },
        { name: "text", label: t("send.text"), kind: "area", help: t("send.escapes.help") },
        { name: "ending", label: t("send.ending"), kind: "select", options: endings(), value: "default" },
      ],
      action: t("save"),
      done: async ({ name, text, ending }) => {
        const { data } = await post("compose", { text, form: "escapes" });
        await this.app.live.request("snippet_add", { name, data, ending });
        this.load();
      },
    });
  }

  addDial() {
    form({
      title: t("dial.add"),
      fields: [
        { name: "address", label: t("dial.address"), help: t("dial.address.help") },
        { name: "name", label: t("clients.name") },
      ],
      action: t("save"),
      done: async ({ address, name }) => {
        await this.app.live.request("dial_add", { address, ...(name ? { name } : {}) });
        this.load();
      },
    });
  }
}
