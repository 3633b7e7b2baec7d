// Everyone who is there: live, sorted, filtered; Enter or a click opens one.
import { sparkline } from "../charts.js";
import { h, say, searchField } from "../dom.js";
import { FALLING, listed } from "../filter.js";
import { count, moment, safe, size, span } from "../format.js";
import { t } from "../i18n.js";
import { icon } from "../icons.js";
import { shortcut } from "../keys.js";
import { broadcastDialog } from "../sendbox.js";
import { VirtualList } from "../virtual.js";

const SORTED_EVERY = 500; // milliseconds: thousands of rows are not sorted for each message
const COLUMNS = ["name", "peer", "in", "out", "queued", "trip", "last"];
const WIDE = matchMedia("(min-width: 760px)");
const kept = { text: "", key: "id", falling: false, top: 0 };

export function page(app) {
  return new Clients(app);
}

class Clients {
  constructor(app) {
    this.app = app;
    this.title = t("nav.clients");
    this.version = -1;
    this.sortedAt = 0;
    this.build();
    this.endings = [
      shortcut("b", "clients.broadcast", () => broadcastDialog(app, { target: "all" })),
      shortcut("/", "keys.filter", () => this.search.focus()),
    ];
  }

  build() {
    this.total = h("span.count");
    this.search = searchField(t("clients.filter"), () => this.sift({ text: this.search.value }), {
      value: kept.text,
      spellcheck: "false",
      onkeydown: (event) => {
        if (event.key === "ArrowDown" || event.key === "Enter") this.list.element.focus();
      },
    });
    this.list = new VirtualList({
      label: t("nav.clients"),
      height: () => (WIDE.matches ? 52 : 68),
      keyOf: (row) => row.id,
      make: () => makeRow(),
      onopen: (row) => this.app.go(`clients/${row.id > 0 ? row.id : encodeURIComponent(row.view.name)}`),
      onsee: (rows) => this.app.see(rows),
    });
    this.empty = h("div.empty", {}, h("h2"), h("p"), h("pre", { tabindex: "0" }));
    this.heads = COLUMNS.map((key) => this.head(key));
    this.order = h(
      "select.narrow-only",
      { "aria-label": t("clients.order"), onchange: () => this.sortBy(this.order.value) },
      ["id", ...COLUMNS].map((key) => h("option", { value: key, selected: key === kept.key }, t(`clients.${key}`))),
    );
    this.element = h(
      "div.page.clients",
      {},
      h(
        "header.page-head",
        {},
        h("h1", {}, t("nav.clients"), this.total),
        h(
          "div.tools",
          {},
          h("div.search", {}, icon("search"), this.search),
          this.order,
          h(
            "button",
            { type: "button", onclick: () => broadcastDialog(this.app, { target: "all" }), title: t("clients.broadcast") },
            icon("send"),
            h("span.hide-narrow", {}, t("clients.broadcast")),
          ),
        ),
      ),
      h("div.list-card", {}, h("div.client-grid.client-heads.wide-only", {}, this.heads), this.list.element, this.empty),
    );
  }

  head(key) {
    const button = h(
      "button.head",
      { type: "button", "data-key": key, onclick: () => this.sortBy(key) },
      t(`clients.${key}`),
      h("span.arrow", { "aria-hidden": "true" }),
    );
    return button;
  }

  sortBy(key) {
    const same = kept.key === key;
    if (same && kept.falling !== FALLING.has(key)) this.sift({ key: "id", falling: false });
    else this.sift({ key, falling: same ? !kept.falling : FALLING.has(key) });
  }

  sift(change) {
    Object.assign(kept, change);
    this.order.value = kept.key;
    this.version = -1;
    this.sortedAt = 0;
    this.list.element.scrollTop = 0;
    this.update();
  }

  shown() {
    this.list.element.scrollTop = kept.top;
    this.list.draw();
  }

  update() {
    const { roster } = this.app;
    const now = performance.now();
    if (roster.version !== this.version && now - this.sortedAt > SORTED_EVERY) {
      this.rows = listed(roster.rows.values(), kept);
      this.version = roster.version;
      this.sortedAt = now;
    }
    this.list.show(this.rows ?? []);
    this.drawHeads();
    this.drawEmpty();
  }

  drawHeads() {
    const { roster } = this.app;
    const [all, shown] = [roster.rows.size, this.rows?.length ?? 0];
    say(this.total, roster.ready ? (kept.text ? t("clients.some", { n: count(shown), all: count(all) }) : count(all)) : "");
    for (const head of this.heads) {
      const chosen = head.dataset.key === kept.key;
      head.setAttribute("aria-pressed", chosen);
      say(head.lastChild, chosen ? (kept.falling ? "↓" : "↑") : "");
    }
  }

  drawEmpty() {
    const { roster } = this.app;
    const nobody = roster.ready && !this.rows?.length;
    this.empty.hidden = !nobody;
    this.list.element.hidden = nobody;
    if (!nobody) return;
    const [title, text, code] = this.empty.children;
    say(title, t(kept.text ? "clients.none" : "clients.empty"));
    say(text, t(kept.text ? "clients.none.hint" : "clients.empty.hint"));
    code.hidden = Boolean(kept.text);
    say(code, (roster.status.listeners ?? []).map(({ address }) => how(address)).join("\n"));
  }

  second() {
    this.version = -1; // rates have changed
  }

  close() {
    kept.top = this.list.element.scrollTop;
    this.list.close();
    for (const end of this.endings) end();
  }
}

/** How a program on this machine joins a listener. */
function how(address) {
  const [, scheme, rest] = /^([\w+]+):\/\/(.*)$/.exec(address) ?? [null, "", address];
  if (scheme === "tcp" || scheme === "udp") {
    const [, host, port] = /^(.*):(\d+)$/.exec(rest) ?? [null, rest, ""];
    return `nc ${scheme === "udp" ? "-u " : ""}${host || "127.0.0.1"} ${port}`;
  }
  return `jackfield connect ${address}`;
}

function makeRow() {
  const cells = Object.fromEntries(
    ["name", "tags", "peer", "local", "in", "out", "queued", "trip", "last", "said", "unread", "explain"].map((key) => [
      key,
      h(`span.cell-${key}`),
    ]),
  );
  const dot = h("span.dot", { "aria-hidden": "true" });
  const stateWords = h("span.sr");
  const spark = sparkline();
  const element = h(
    "div.client-grid.client-row",
    {},
    h("div.c-name", {}, dot, stateWords, h("div.two", {}, h("div.line", {}, cells.name, cells.unread, cells.tags), cells.said, cells.explain)),
    h("div.c-peer.two", {}, cells.peer, cells.local),
    h("div.c-in.num", {}, cells.in),
    h("div.c-out.num", {}, cells.out),
    h("div.c-queued.num", {}, cells.queued),
    h("div.c-trip", {}, spark.element, cells.trip),
    h("div.c-last.num", {}, cells.last),
  );
  return { element, update: (row) => drawRow(row, { element, cells, dot, stateWords, spark }) };
}

function drawRow(row, { element, cells, dot, stateWords, spark }) {
  const { view, rates } = row;
  const state = row.troubled && row.state === "connected" ? "trouble" : row.state;
  if (dot.dataset.state !== state) {
    dot.dataset.state = state;
    element.classList.toggle("is-absent", state === "absent");
    say(stateWords, state === "connected" ? "" : t(`client.state.${state}`));
  }
  say(cells.name, safe(view.name));
  say(cells.tags, (view.tags ?? []).map((tag) => `#${safe(tag)}`).join(" "));
  say(cells.unread, row.unread ? (row.unread > 99 ? "99+" : String(row.unread)) : "");
  cells.unread.hidden = !row.unread;
  const trouble = state === "trouble" || state === "conflict";
  say(cells.explain, trouble ? safe(view.conflict ? t("client.conflict", { name: view.conflict }) : view.explain) : "");
  say(cells.said, trouble ? "" : safe(row.said || view.note || ""));
  cells.explain.hidden = !trouble;
  cells.said.hidden = trouble;
  say(cells.peer, safe(view.peer ?? ""));
  say(cells.local, view.local ? `${view.protocol} → ${safe(view.local)}` : (view.protocol ?? ""));
  say(cells.in, rate(rates.in, view.bytes_in));
  say(cells.out, rate(rates.out, view.bytes_out));
  element.classList.toggle("is-busy", rates.messages > 0);
  say(cells.queued, view.queued ? size(view.queued) : "");
  cells.queued.classList.toggle("warn", (view.queued ?? 0) > 65536);
  spark.draw(row.trips);
  say(cells.trip, row.trips.length ? span(row.trips.at(-1)) : "");
  say(cells.last, moment(row.last || view.last_seen || ""));
}

/** A rate while there is one, else what has passed in all. */
function rate(perSecond, total) {
  if (perSecond > 0) return `${size(perSecond)}/s`;
  return total ? size(total) : "";
}
