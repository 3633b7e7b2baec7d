// One client: what is known of it, the conversation, and where one types to it.
import { sparkline } from "../charts.js";
import { Conversation, VIEWS, download, exported, fileName } from "../conversation.js";
import { form } from "../dialogs.js";
import { fill, h, say, searchField } from "../dom.js";
import { moment, safe, size, span, wholeMoment } from "../format.js";
import { known, t } from "../i18n.js";
import { icon } from "../icons.js";
import { shortcut } from "../keys.js";
import { SendBox } from "../sendbox.js";
import { ruleForm } from "./automation.js";

const SHOWN = 300; // messages in the document
const kept = { view: "text" };

export function page(app, key) {
  return new Client(app, key);
}

class Client {
  constructor(app, key) {
    this.app = app;
    this.key = decodeURIComponent(key);
    this.id = /^\d+$/.test(this.key) ? Number(this.key) : null;
    this.title = `${t("nav.clients")} ${this.key}`;
    this.sought = "";
    this.drawn = "";
    this.followed = this.row();
    if (this.id !== null) {
      const { roster } = app;
      this.conversation = roster.conversations.get(this.id) ?? new Conversation(this.id);
      roster.conversations.set(this.id, this.conversation);
      roster.open.add(this.id);
      app.see([{ id: this.id }]);
    }
    this.build();
    this.endings = [
      shortcut("/", "keys.search", () => this.search.focus()),
      shortcut("t", "keys.type", () => this.box?.text.focus()),
      shortcut("v", "keys.view", () => this.nextView()),
      shortcut("r", "client.rename", () => this.rename()),
      shortcut("Escape", "keys.back", () => app.go("clients")),
    ];
  }

  /** The client's row; of one that is absent, by its name. */
  row() {
    const { rows } = this.app.roster;
    if (this.id !== null) return rows.get(this.id);
    return [...rows.values()].find((row) => row.id < 0 && row.view.name === this.key);
  }

  target() {
    return this.id === null ? this.key : String(this.id);
  }

  // ---------------------------------------------------------------- building

  build() {
    this.name = h("h1", { tabindex: "-1" }, this.key);
    this.chips = h("span.chips");
    this.explain = h("p.explain", { role: "status" });
    const action = (key, does, kind = "button") =>
      h(kind, { type: "button", onclick: () => does.call(this) }, t(`client.${key}`));
    this.actions = h(
      "div.actions",
      {},
      action("rename", this.rename),
      action("tag", this.tag),
      action("note", this.note),
      action("rule", () => ruleForm(this.app, { to: this.row()?.view.name ?? this.key })),
      this.id === null ? null : action("export", this.export),
      this.id === null ? action("forget", this.forget, "button.danger") : action("kick", this.kick, "button.danger"),
    );
    this.facts = h("dl.facts");
    this.spark = sparkline({ width: 220, height: 44 });
    this.trip = h("p.trip");
    this.trips = h("div.trips", {}, h("h3", {}, t("clients.trip")), this.spark.element, this.trip);
    this.element = h(
      "div.page.client",
      {},
      h(
        "header.client-head",
        {},
        h("a.button.square.quiet", { href: "#/clients", "aria-label": t("client.back") }, icon("back")),
        h("div.grow", {}, h("div.row", {}, this.name, this.chips), this.explain),
        this.actions,
      ),
      h(
        "div.client-body",
        {},
        this.id === null ? h("div.empty", {}, h("h2", {}, t("client.absent")), h("p", {}, t("client.absent.hint"))) : this.talk(),
        h("aside.card.facts-card", { tabindex: "0", "aria-label": t("client.facts") }, h("h2", {}, t("client.facts")), this.facts, this.trips),
      ),
    );
  }

  talk() {
    this.search = searchField(t("client.search"), () => this.seek());
    this.found = h("span.muted.small", { role: "status" });
    this.views = h(
      "div.segments",
      { role: "group", "aria-label": t("client.view") },
      Object.keys(VIEWS).map((view) =>
        h("button", { type: "button", "data-view": view, onclick: () => this.show(view) }, t(`client.view.${view}`)),
      ),
    );
    this.messages = h("div.messages", { tabindex: "0", "aria-label": t("client.conversation"), role: "log", "aria-live": "off" });
    this.nothing = h("div.empty", {}, h("p", {}, t("client.silent")));
    this.gone = h("p.gone", { role: "status", hidden: true });
    this.box = new SendBox(this.app, { target: () => this.target() });
    return h(
      "section.card.talk",
      { "aria-label": t("client.conversation") },
      h("div.talk-tools", {}, this.views, h("div.search.grow", {}, icon("search"), this.search), this.found),
      this.messages,
      this.nothing,
      this.gone,
      this.box.element,
    );
  }

  // ---------------------------------------------------------------- drawing

  update() {
    const row = this.row();
    if (row) {
      this.followed = row;
      row.unread = 0;
      this.drawFacts(row);
    }
    if (this.id !== null) {
      this.drawTalk();
      this.gone.hidden = Boolean(row) || !this.app.roster.ready;
      if (!row) say(this.gone, t("client.gone"));
    }
  }

  drawFacts(row) {
    const { view, rates } = row;
    say(this.name, safe(view.name));
    const chips = [
      row.state === "connected" ? null : h("span.chip.warn-chip", {}, t(`client.state.${row.state}`)),
      ...(view.tags ?? []).map((tag) => h("span.chip", {}, `#${safe(tag)}`)),
    ];
    const text = JSON.stringify([row.state, view.tags]);
    if (this.chips.dataset.shown !== text) {
      this.chips.dataset.shown = text;
      fill(this.chips, chips);
    }
    say(this.explain, safe(view.conflict ? t("client.conflict", { name: view.conflict }) : known(`explain.${view.explain}`, view.explain ?? "")));
    this.explain.classList.toggle("warn", row.troubled || row.state === "conflict");
    this.spark.draw(row.trips);
    this.trips.hidden = !row.trips.length;
    if (row.trips.length) say(this.trip, span(row.trips.at(-1)));
    this.drawList([
      ["protocol", view.protocol],
      ["local", view.local],
      ["peer", view.peer],
      ["process", view.pid ? `${view.pid} (uid ${view.uid})` : ""],
      ["framing", view.framing],
      ["since", wholeMoment(view.since)],
      ["in", view.bytes_in === undefined ? "" : traffic(view.bytes_in, view.messages_in, rates.in)],
      ["out", view.bytes_out === undefined ? "" : traffic(view.bytes_out, view.messages_out, rates.out)],
      ["queued", view.queued === undefined ? "" : size(view.queued)],
      ["dropped", view.dropped ? String(view.dropped) : ""],
      ["identity", view.identity],
      ["seen", view.last_seen ? wholeMoment(view.last_seen) : ""],
      ["note", view.note],
    ]);
  }

  drawList(facts) {
    const there = facts.filter(([, value]) => value);
    const keys = there.map(([key]) => key).join();
    if (this.facts.dataset.keys !== keys) {
      this.facts.dataset.keys = keys;
      fill(this.facts, there.map(([key]) => h("div", {}, h("dt", {}, t(`client.${key}`)), h("dd"))));
    }
    there.forEach(([, value], place) => say(this.facts.children[place].lastChild, safe(value)));
  }

  drawTalk() {
    const { conversation } = this;
    const state = `${conversation.version} ${kept.view} ${this.sought}`;
    for (const button of this.views.children) button.setAttribute("aria-pressed", button.dataset.view === kept.view);
    if (state === this.drawn) return;
    const list = this.messages;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const shown = this.matching();
    fill(list, shown.slice(-SHOWN).map((message) => this.line(message)));
    this.drawn = state;
    list.hidden = !conversation.messages.length;
    this.nothing.hidden = Boolean(conversation.messages.length);
    say(this.found, this.sought ? t("client.found", { n: shown.length }) : "");
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  matching() {
    const { messages } = this.conversation;
    if (!this.sought) return messages;
    const sought = this.sought.toLowerCase();
    return messages.filter(({ bytes, by }) => `${VIEWS[kept.view](bytes)} ${by}`.toLowerCase().includes(sought));
  }

  line({ at, way, by, bytes, cut }) {
    const mine = by === this.app.session.operator;
    const who = way === "heard" ? "" : mine ? t("client.you") : safe(by);
    return h(
      `div.message.${way}`,
      {},
      h("span.when", { title: wholeMoment(at) }, moment(at)),
      h("span.way", { "aria-label": t(way === "heard" ? "client.heard" : "client.told"), role: "img" }, way === "heard" ? "‹" : "›"),
      h("span.words", {}, this.marked(VIEWS[kept.view](bytes)), cut ? h("span.muted", {}, ` … ${size(cut)}`) : null),
      who ? h("span.by", {}, who) : null,
    );
  }

  /** Text with what is sought in a mark. */
  marked(text) {
    if (!this.sought) return text;
    const parts = [];
    const lower = text.toLowerCase();
    const sought = this.sought.toLowerCase();
    let at = 0;
    for (let next = lower.indexOf(sought); next >= 0; next = lower.indexOf(sought, at)) {
      parts.push(text.slice(at, next), h("mark", {}, text.slice(next, next + sought.length)));
      at = next + sought.length;
    }
    return [...parts, text.slice(at)];
  }

  seek() {
    this.sought = this.search.value.trim();
    this.update();
  }

  show(view) {
    kept.view = view;
    this.update();
  }

  nextView() {
    const views = Object.keys(VIEWS);
    this.show(views[(views.indexOf(kept.view) + 1) % views.length]);
  }

  // ---------------------------------------------------------------- doing

  rename() {
    form({
      title: t("client.rename"),
      fields: [{ name: "name", label: t("clients.name"), value: this.followed?.view.name ?? this.key }],
      action: t("client.rename"),
      done: ({ name }) => this.app.live.request("rename", { target: this.target(), name }),
    });
  }

  tag() {
    const before = this.followed?.view.tags ?? [];
    form({
      title: t("client.tag"),
      fields: [{ name: "tags", label: t("client.tags"), value: before.join(" "), help: t("client.tags.help") }],
      action: t("save"),
      done: async ({ tags }) => {
        const after = tags.split(/[\s,#]+/).filter(Boolean);
        const add = after.filter((tag) => !before.includes(tag));
        const remove = before.filter((tag) => !after.includes(tag));
        if (add.length || remove.length) await this.app.live.request("tag", { target: this.target(), add, remove });
      },
    });
  }

  note() {
    form({
      title: t("client.note"),
      fields: [{ name: "text", label: t("client.note"), value: this.followed?.view.note ?? "", kind: "area" }],
      action: t("save"),
      done: ({ text }) => this.app.live.request("note", { target: this.target(), text }),
    });
  }

  kick() {
    form({
      title: t("client.kick"),
      about: t("client.kick.about", { name: safe(this.followed?.view.name ?? this.key) }),
      fields: [{ name: "reset", label: t("client.kick.reset"), kind: "check" }],
      action: t("client.kick"),
      danger: true,
      done: ({ reset }) => this.app.live.request("kick", { target: this.target(), reset }),
    });
  }

  forget() {
    form({
      title: t("client.forget"),
      about: t("client.forget.about", { name: safe(this.key) }),
      fields: [],
      action: t("client.forget"),
      danger: true,
      done: async () => {
        await this.app.live.request("forget", { target: this.target() });
        this.app.go("clients");
      },
    });
  }

  export() {
    const options = ["text", "hex", "mixed", "json"].map((each) => [each, t(`client.view.${each}`)]);
    form({
      title: t("client.export"),
      about: t("client.export.about", { n: this.conversation.messages.length }),
      fields: [{ name: "kind", label: t("client.export.kind"), kind: "select", options, value: kept.view }],
      action: t("client.export"),
      done: async ({ kind }) => {
        const name = this.followed?.view.name ?? this.key;
        download(exported(this.conversation.messages, kind), fileName(name, kind));
      },
    });
  }

  close() {
    this.box?.stop();
    for (const end of this.endings) end();
  }
}

function traffic(bytes, messages, rate) {
  const now = rate > 0 ? `, ${size(rate)}/s` : "";
  return `${size(bytes)}, ${t("messages", { n: messages })}${now}`;
}
