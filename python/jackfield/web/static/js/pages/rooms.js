// The rooms of the hub: which there are, what was said anywhere, and making one.
import { form } from "../dialogs.js";
import { fill, h, say, searchField } from "../dom.js";
import { count, moment, safe } from "../format.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { shortcut } from "../keys.js";
import { textOf } from "./room.js";

const FOUND = 50; // messages of a search

export function page(app) {
  return new Rooms(app);
}

class Rooms {
  constructor(app) {
    this.app = app;
    this.title = t("nav.rooms");
    this.number = h("span.count");
    this.search = searchField(t("rooms.search"), () => this.typed());
    this.list = h("div");
    this.found = h("section.card.block", { hidden: true, "aria-label": t("rooms.found") });
    this.element = h(
      "div.page",
      {},
      h(
        "header.page-head",
        {},
        h("h1", {}, this.title, this.number),
        h(
          "div.tools",
          {},
          h("div.search", {}, icon("search"), this.search),
          h("button", { type: "button", onclick: () => this.add() }, icon("plus"), t("rooms.add")),
        ),
      ),
      this.found,
      this.list,
    );
    this.endings = [shortcut("/", "keys.search", () => this.search.focus())];
    this.load();
  }

  update() {}

  again() {
    this.load();
  }

  async load() {
    const answer = await this.app.live.request("room_list").catch(() => null);
    if (!answer) return;
    say(this.number, count(answer.rooms.length));
    if (answer.rooms.length) fill(this.list, h("ul.cards", {}, answer.rooms.map(card)));
    else fill(this.list, h("div.card.empty", {}, h("h2", {}, t("rooms.none")), h("p", {}, t("rooms.none.hint"))));
  }

  typed() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.seek(), 250);
  }

  async seek() {
    const text = this.search.value.trim();
    this.found.hidden = !text;
    if (!text) return;
    let rows = [];
    try {
      rows = (await this.app.live.request("room_search", { text, limit: FOUND })).messages;
    } catch (problem) {
      fill(this.found, h("p.bad", {}, problem.message));
      return;
    }
    const heading = h("header", {}, h("h2", {}, t("rooms.found")), h("span.muted", {}, count(rows.length)));
    fill(
      this.found,
      heading,
      rows.length
        ? h(
            "ul.rows",
            {},
            rows.map(([room, , at, , name, , body]) =>
              h(
                "li",
                {},
                h("a", { href: `#/rooms/${encodeURIComponent(room)}` }, safe(room)),
                h("span.muted.small", {}, `${moment(at)} ${safe(name)}`),
                h("span.grow", {}, textOf(body)),
              ),
            ),
          )
        : h("p.muted", {}, t("rooms.nothing")),
    );
  }

  add() {
    form({
      title: t("rooms.add"),
      fields: [
        { name: "room", label: t("clients.name") },
        { name: "topic", label: t("rooms.topic") },
        { name: "ephemeral", label: t("rooms.ephemeral"), kind: "check" },
        { name: "open", label: t("rooms.open"), kind: "check" },
      ],
      action: t("rooms.add"),
      done: async ({ room, topic, ephemeral, open }) => {
        await this.app.live.request("room_create", { room, ephemeral, open, ...(topic ? { topic } : {}) });
        this.app.go(`rooms/${encodeURIComponent(room)}`);
      },
    });
  }

  close() {
    for (const end of this.endings) end();
  }
}

function card({ room, topic, members, durable, open, last }) {
  return h(
    "li.card",
    {},
    h("a.room-link", { href: `#/rooms/${encodeURIComponent(room)}` }, h("strong", {}, `# ${safe(room)}`)),
    h("p.muted", {}, topic ? safe(topic) : t("rooms.no_topic")),
    h(
      "p.small.muted.row",
      {},
      h("span", {}, t("rooms.members", { n: members })),
      h("span", {}, t("rooms.said", { n: last })),
      durable ? null : h("span.chip", {}, t("rooms.kept_not")),
      open ? h("span.chip", {}, t("rooms.open_short")) : null,
    ),
  );
}
