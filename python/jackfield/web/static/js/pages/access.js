// Who may come: tokens and invitations.
import { dialog, form } from "../dialogs.js";
import { fill, h } from "../dom.js";
import { moment, safe } from "../format.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";

const ROLES = ["member", "operator", "admin"];

export function page(app) {
  return new Access(app);
}

class Access {
  constructor(app) {
    this.app = app;
    this.title = t("nav.access");
    this.list = h("div");
    this.element = h(
      "div.page",
      {},
      h(
        "header.page-head",
        {},
        h("h1", {}, this.title),
        h(
          "div.tools",
          {},
          h("button.primary", { type: "button", onclick: () => this.add("invite") }, icon("plus"), t("access.invite")),
          h("button", { type: "button", onclick: () => this.add("token_create") }, t("access.token")),
        ),
      ),
      h("section.card.block", { "aria-label": this.title }, h("p.muted", {}, t("access.about")), this.list),
    );
    this.load();
  }

  update() {}

  again() {
    this.load();
  }

  async load() {
    let tokens;
    try {
      ({ tokens } = await this.app.live.request("token_list"));
    } catch (problem) {
      if (problem.code !== "lost") fill(this.list, h("p.bad", { role: "alert" }, problem.message));
      return;
    }
    if (!tokens.length) fill(this.list, h("p.none.muted", {}, t("access.none")));
    else fill(this.list, h("ul.rows", {}, tokens.map((token) => this.entry(token))));
  }

  entry({ id, kind, role, name, state, made, made_by: by, expires }) {
    return h(
      state === "valid" ? "li" : "li.is-over",
      {},
      h(
        "div.parts",
        {},
        h("strong", {}, name ? safe(name) : t("access.nameless")),
        h("code", {}, safe(id)),
        h("span.chip", {}, t(`role.${role}`)),
        h("span", {}, t(`access.kind.${kind}`)),
        state === "valid" ? null : h("span.warn", {}, t(`access.state.${state}`)),
        h("span.muted.small", {}, t("access.made", { by: safe(by), time: moment(made) })),
        expires && state === "valid" ? h("span.muted.small", {}, t("access.until", { time: moment(expires) })) : null,
      ),
      state === "valid"
        ? h("button.quiet.square", { type: "button", "aria-label": t("access.revoke.named", { name: safe(name || id) }), onclick: () => this.revoke(id, name) }, icon("close"))
        : h("span"),
    );
  }

  add(op) {
    form({
      title: t(op === "invite" ? "access.invite" : "access.token"),
      about: t(op === "invite" ? "access.invite.about" : "access.token.about"),
      fields: [
        { name: "name", label: t("clients.name"), help: t("access.name.help") },
        { name: "role", label: t("settings.role"), kind: "select", options: ROLES.map((role) => [role, t(`role.${role}`)]), value: "member" },
        { name: "hours", label: t("access.hours"), value: op === "invite" ? "24" : "", help: t("access.hours.help") },
      ],
      action: t(op === "invite" ? "access.invite" : "access.token"),
      done: async ({ name, role, hours }) => {
        const expires = Number(hours) > 0 ? { expires: Number(hours) * 3600 } : {};
        const made = await this.app.live.request(op, { role, ...(name ? { name } : {}), ...expires });
        this.load();
        setTimeout(() => this.show(made), 0);
      },
    });
  }

  /** What was made is shown once. */
  show({ token, invitations, operators }) {
    const command = operators ? "jackfield status --hub" : "jackfield join";
    const texts = invitations?.length ? invitations.map((each) => `${command} '${each}'`) : [token];
    dialog({
      title: t("access.once"),
      body: h(
        "div.stack",
        {},
        h("p", {}, t("access.once.about")),
        texts.map((text) => h("pre.wrap", { tabindex: "0" }, safe(text))),
        h("button", { type: "button", onclick: () => navigator.clipboard?.writeText(texts.join("\n")) }, t("access.copy")),
      ),
    });
  }

  revoke(id, name) {
    form({
      title: t("access.revoke"),
      about: t("access.revoke.about", { name: safe(name || id) }),
      fields: [],
      action: t("access.revoke"),
      danger: true,
      done: async () => {
        await this.app.live.request("token_revoke", { token: id });
        this.load();
      },
    });
  }
}
