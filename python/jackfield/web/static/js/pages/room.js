// One room: what is said, who is there, and saying something.
import { form, notice } from "../dialogs.js";
import { fill, h, say, searchField } from "../dom.js";
import { asText, bytesOf, moment, safe, wholeMoment } from "../format.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { shortcut } from "../keys.js";

const KEPT = 500; // messages in the document
const BEGINNING = 100; // messages that are shown at first

export function page(app, name) {
  return new Room(app, decodeURIComponent(name));
}

/** What was said, as safe text. */
export function textOf(body) {
  return typeof body === "string" ? safe(body, "\n") : asText(bytesOf(body.base64));
}

function nick() {
  return localStorage.getItem("jackfield.nick") || "operator";
}

class Room {
  constructor(app, name) {
    this.app = app;
    this.name = name;
    this.title = name;
    this.members = new Map();
    this.rows = [];
    this.chat = null;
    this.build();
    this.endings = [
      shortcut("t", "keys.type", () => this.text.focus()),
      shortcut("/", "keys.search", () => this.search.focus()),
      shortcut("Escape", "keys.back", () => app.go("rooms")),
    ];
    this.enter();
  }

  build() {
    this.topic = h("p.explain");
    this.number = h("span.count");
    this.search = searchField(t("rooms.search"), () => this.draw());
    this.list = h("div.room-messages", { role: "log", "aria-live": "polite", tabindex: "0", "aria-label": t("client.conversation") });
    this.people = h("ul.people");
    this.text = h("textarea", { rows: "1", "aria-label": t("send.text"), placeholder: t("send.placeholder"), onkeydown: (event) => this.key(event) });
    this.problem = h("p.bad", { role: "alert" });
    this.element = h(
      "div.page.room",
      {},
      h(
        "header.client-head",
        {},
        h("a.button.square.quiet", { href: "#/rooms", "aria-label": t("rooms.back") }, icon("back")),
        h("div.grow", {}, h("h1", { tabindex: "-1" }, `# ${safe(this.name)}`), this.topic),
        h(
          "div.actions",
          {},
          h("button", { type: "button", onclick: () => this.editTopic() }, t("rooms.topic")),
          h("button", { type: "button", onclick: () => this.editNick() }, t("rooms.nick")),
          h("button.danger", { type: "button", onclick: () => this.remove() }, t("rooms.delete")),
        ),
      ),
      h(
        "div.client-body",
        {},
        h(
          "section.card.talk",
          { "aria-label": t("client.conversation") },
          h("div.talk-tools", {}, h("div.search.grow", {}, icon("search"), this.search)),
          this.list,
          h(
            "form.sendbox",
            {
              onsubmit: (event) => {
                event.preventDefault();
                this.say();
              },
            },
            this.problem,
            h("div.send-line", {}, this.text, h("button.primary", { type: "submit", "aria-label": t("send.go") }, icon("send"), h("span", {}, t("send.go")))),
          ),
        ),
        h("aside.card.facts-card", { tabindex: "0", "aria-label": t("rooms.people") }, h("h2", {}, t("rooms.people"), this.number), this.people),
      ),
    );
  }

  update() {}

  again() {
    this.enter();
  }

  // ---------------------------------------------------------------- the room

  enter() {
    fill(this.problem);
    const { id, done } = this.app.live.stream("room_chat", { room: this.name, name: nick(), last: BEGINNING }, (event) => this.take(event));
    this.chat = id;
    done.then(
      ({ left }) => left && fill(this.problem, safe(left)),
      (problem) => {
        if (problem.code !== "lost") fill(this.problem, problem.hint ? `${problem.message} (${problem.hint})` : problem.message);
      },
    );
  }

  take(event) {
    if (event.history) {
      this.rows = event.history;
      this.members = new Map(event.members.map((member) => [member.source, member]));
      this.own = event.source;
      this.total = event.room.members;
      say(this.topic, safe(event.room.topic || t("rooms.no_topic")));
      this.draw();
    }
    if (event.said) {
      this.rows.push(...event.said);
      if (this.rows.length > KEPT) this.rows.splice(0, this.rows.length - KEPT);
      this.draw();
    }
    for (const member of [...(event.came ?? []), ...(event.changed ?? [])]) this.members.set(member.source, member);
    for (const { source } of event.left ?? []) this.members.delete(source);
    if ("count" in event) this.total = event.count;
    if ("topic" in event && !event.history) say(this.topic, safe(event.topic || t("rooms.no_topic")));
    if (event.problem) fill(this.problem, safe(event.problem));
    if (event.private) notice(`${safe(event.private.from)}: ${textOf(event.private.text ?? { base64: event.private.data })}`);
    this.drawPeople();
  }

  draw() {
    const sought = this.search.value.trim().toLowerCase();
    const shown = sought ? this.rows.filter(([, , , name, , body]) => `${name} ${textOf(body)}`.toLowerCase().includes(sought)) : this.rows;
    const atEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
    let before = null;
    fill(
      this.list,
      shown.length ? null : h("div.empty", {}, h("p", {}, t(sought ? "rooms.nothing" : "rooms.silent"))),
      shown.map((row) => {
        const [, at, , name, , body] = row;
        const follows = before && before[3] === name && at - before[1] < 300;
        before = row;
        return h(
          follows ? "div.post.follows" : "div.post",
          {},
          follows ? null : h("p.post-head", {}, h("strong", {}, safe(name)), h("span.muted.small", { title: wholeMoment(at) }, moment(at))),
          h("p.post-text", {}, textOf(body)),
        );
      }),
    );
    if (atEnd || !this.drawn) this.list.scrollTop = this.list.scrollHeight;
    this.drawn = true;
  }

  drawPeople() {
    say(this.number, this.total ? String(this.total) : "");
    const people = [...this.members.values()].sort((a, b) => a.name.localeCompare(b.name));
    fill(
      this.people,
      people.map(({ source, name, kind, state }) =>
        h(
          "li",
          {},
          h("span.dot", { "aria-hidden": "true", "data-state": state === "here" ? "connected" : "absent" }),
          h("span", {}, safe(name), source === this.own ? ` (${t("client.you")})` : ""),
          h("span.muted.small", {}, t(`kind.${kind}`)),
        ),
      ),
    );
  }

  // ---------------------------------------------------------------- doing

  key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.say();
    }
  }

  async say() {
    const text = this.text.value;
    if (!text.trim()) return;
    fill(this.problem);
    try {
      await this.app.live.request("room_say", { of: this.chat, text });
      this.text.value = "";
    } catch (problem) {
      fill(this.problem, problem.message);
    }
  }

  editTopic() {
    form({
      title: t("rooms.topic"),
      fields: [{ name: "topic", label: t("rooms.topic"), value: this.topic.textContent }],
      action: t("save"),
      done: ({ topic }) => this.app.live.request("room_topic", { room: this.name, topic }),
    });
  }

  editNick() {
    form({
      title: t("rooms.nick"),
      fields: [{ name: "name", label: t("rooms.nick"), value: nick() }],
      action: t("save"),
      done: async ({ name }) => {
        localStorage.setItem("jackfield.nick", name);
        await this.app.live.request("cancel", { of: this.chat });
        this.enter();
      },
    });
  }

  remove() {
    form({
      title: t("rooms.delete"),
      about: t("rooms.delete.about", { name: safe(this.name) }),
      fields: [],
      action: t("rooms.delete"),
      danger: true,
      done: async () => {
        await this.app.live.request("room_delete", { room: this.name });
        this.app.go("rooms");
      },
    });
  }

  close() {
    if (this.chat !== null) this.app.live.cancel(this.chat);
    for (const end of this.endings) end();
  }
}
