// What happened: who came and went, what operators did; live, searched, by kind.
import { fill, h, say, searchField } from "../dom.js";
import { count, moment, safe, wholeMoment } from "../format.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { shortcut } from "../keys.js";
import { VirtualList } from "../virtual.js";

const TOLD = 1000; // events that are asked for
const KEPT = 2000;
const BAD = new Set(["fault", "not_saved", "reload_failed", "no_state", "login_refused", "operator_refused", "refused", "limited", "operator_dropped", "conflict", "accept_failed"]);
const BY_CLIENTS = new Set(["joined", "left", "message", "identified", "conflict", "refused"]);
const KINDS = {
  all: () => true,
  operators: (event) => "by" in event || "operator" in event || event.event === "audit",
  clients: (event) => BY_CLIENTS.has(event.event),
  audit: () => true, // from a log of its own
  trouble: (event) => BAD.has(event.event) || /^refused/.test(event.outcome ?? ""),
};
const kept = { kind: "all", text: "" };

export function page(app) {
  return new Audit(app);
}

class Audit {
  constructor(app) {
    this.app = app;
    this.title = t("nav.audit");
    this.events = [];
    this.records = [];
    this.stale = true;
    this.search = searchField(t("audit.search"), () => this.sift({ text: this.search.value }), { value: kept.text });
    this.kinds = h(
      "div.segments",
      { role: "group", "aria-label": t("audit.kinds") },
      Object.keys(KINDS).map((kind) =>
        h("button", { type: "button", "data-kind": kind, onclick: () => this.sift({ kind }) }, t(`audit.${kind}`)),
      ),
    );
    this.number = h("span.count");
    this.list = new VirtualList({
      label: this.title,
      height: () => (matchMedia("(min-width: 760px)").matches ? 36 : 60),
      keyOf: (event) => event,
      make: makeRow,
      onopen: (event) => this.open(event),
    });
    this.detail = h("section.card.block.event", { hidden: true, "aria-label": t("audit.event") });
    this.empty = h("div.empty", { hidden: true }, h("h2", {}, t("audit.none")), h("p", {}, t("audit.none.hint")));
    this.element = h(
      "div.page.audit",
      {},
      h(
        "header.page-head",
        {},
        h("h1", {}, this.title, this.number),
        h("div.tools", {}, this.kinds, h("div.search", {}, icon("search"), this.search)),
      ),
      h("div.list-card", {}, this.list.element, this.empty),
      this.detail,
    );
    app.roster.onlog = (events) => this.add(events);
    this.endings = [
      shortcut("/", "keys.search", () => this.search.focus()),
      shortcut("Escape", "audit.close", () => (this.detail.hidden = true)),
    ];
    this.load();
  }

  again() {
    this.load();
  }

  async load() {
    const events = [];
    await this.app.live.stream("logs", { last: TOLD }, ({ log }) => events.push(log)).done.catch(() => {});
    this.records = [];
    this.follow();
    if (events.length) this.events = events;
    this.sift({});
  }

  /** The audit log, which is for administrators. */
  follow() {
    if (this.following !== undefined) this.app.live.cancel(this.following);
    const { id, done } = this.app.live.stream("audit", { last: TOLD, follow: true }, ({ audit: { what, ...record } }) => {
      this.records.push({ event: what, ...record });
      this.stale = true;
      this.app.changed();
    });
    this.following = id;
    done.catch(() => {});
  }

  add(events) {
    this.events.push(...events);
    if (this.events.length > KEPT) this.events.splice(0, this.events.length - KEPT);
    this.stale = true;
  }

  sift(change) {
    Object.assign(kept, change);
    this.stale = true;
    this.update();
  }

  update() {
    if (!this.stale) return;
    this.stale = false;
    for (const button of this.kinds.children) button.setAttribute("aria-pressed", button.dataset.kind === kept.kind);
    const sought = kept.text.toLowerCase();
    const all = kept.kind === "audit" ? this.records : this.events;
    const shown = all.filter((event) => KINDS[kept.kind](event) && (!sought || words(event).toLowerCase().includes(sought)));
    say(this.number, count(shown.length));
    this.list.show(shown.reverse());
    this.empty.hidden = shown.length > 0;
    this.list.element.hidden = !shown.length;
  }

  open(event) {
    this.detail.hidden = false;
    const facts = Object.entries(event).filter(([key]) => key !== "time" && key !== "event");
    fill(
      this.detail,
      h("header", {}, h("h2", {}, safe(event.event)), h("span.muted", {}, wholeMoment(event.time))),
      h("dl.facts", {}, facts.map(([key, value]) => h("div", {}, h("dt", {}, safe(key)), h("dd", {}, safe(value))))),
    );
  }

  close() {
    this.app.roster.onlog = () => {};
    if (this.following !== undefined) this.app.live.cancel(this.following);
    this.list.close();
    for (const end of this.endings) end();
  }
}

function words(event) {
  const facts = Object.entries(event).filter(([key]) => key !== "time" && key !== "event");
  return `${event.event} ${facts.map(([key, value]) => `${key}=${safe(value)}`).join(" ")}`;
}

function makeRow() {
  const when = h("span.when");
  const kind = h("span.kind");
  const facts = h("span.event-facts");
  const element = h("div.event-row", {}, when, kind, facts);
  return {
    element,
    update(event) {
      say(when, moment(event.time));
      say(kind, safe(event.event));
      kind.classList.toggle("bad", BAD.has(event.event));
      say(facts, words(event).slice(event.event.length + 1));
    },
  };
}
