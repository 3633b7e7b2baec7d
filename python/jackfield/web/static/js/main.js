// The console: one shell around the pages, one connection, one roster; a page is drawn when something changed.
import { session } from "./api.js";
import { mark } from "./brand.js";
import { notice } from "./dialogs.js";
import { fill, h, say } from "./dom.js";
import { span } from "./format.js";
import { History } from "./history.js";
import { loadLanguage, t } from "./i18n.js";
import { icon } from "./icons.js";
import * as keys from "./keys.js";
import { Live } from "./live.js";
import { applyTheme } from "./prefs.js";
import { Roster } from "./roster.js";

const PAGES = [
  { name: "clients", load: () => import("./pages/clients.js"), detail: () => import("./pages/client.js"), key: "g c" },
  { name: "rooms", load: () => import("./pages/rooms.js"), detail: () => import("./pages/room.js"), key: "g r" },
  { name: "automation", load: () => import("./pages/automation.js"), key: "g m" },
  { name: "traffic", load: () => import("./pages/traffic.js"), key: "g t" },
  { name: "audit", load: () => import("./pages/audit.js"), key: "g a" },
  { name: "access", load: () => import("./pages/access.js"), key: "g i" },
  { name: "settings", load: () => import("./pages/settings.js"), key: "g s" },
];
const TOLD = 200; // events of the log that a page begins with

class App {
  constructor(who) {
    this.session = who;
    this.live = new Live();
    this.roster = new Roster();
    this.history = new History(this.roster);
    this.page = null;
    this.drawn = false;
    this.seen = [];
    this.looked = "";
    this.turn = 0;
  }

  start() {
    this.build();
    this.live.onstate = () => this.drawState();
    this.live.onlive = () => this.watch();
    this.live.open();
    window.addEventListener("hashchange", () => this.route());
    for (const { name, key } of PAGES) keys.shortcut(key, `nav.${name}`, () => this.go(name));
    keys.listen();
    setInterval(() => this.second(), 1000);
    this.route();
  }

  build() {
    this.nav = h(
      "nav.nav",
      { "aria-label": t("nav.label") },
      PAGES.map(({ name }) =>
        h("a.nav-link", { href: `#/${name}`, "data-page": name }, icon(name), h("span", {}, t(`nav.${name}`))),
      ),
    );
    this.state = h("p.state", { role: "status" });
    this.banner = h("div.banner", { role: "status", hidden: true });
    this.main = h("main.main", { id: "main", tabindex: "-1" });
    const keysButton = h("button.quiet.hint", { type: "button", onclick: () => keys.showKeys() }, h("kbd", {}, "?"), t("keys.title"));
    document.body.append(
      h("a.skip", { href: "#main", onclick: (event) => this.skip(event) }, t("skip")),
      h("header.side", {}, mark(), this.nav, h("div.side-end", {}, keysButton, this.state)),
      h("div.content", {}, this.banner, this.main),
    );
    this.drawState();
  }

  skip(event) {
    event.preventDefault();
    this.main.focus();
  }

  // ---------------------------------------------------------------- the hub

  watch() {
    this.roster.clear();
    this.looked = "";
    const { id, done } = this.live.stream("watch", { last: TOLD }, (event) => {
      this.roster.apply(event);
      this.changed();
      if (event.ready) this.lookAgain();
    });
    this.watching = id;
    done.catch((problem) => problem.code !== "lost" && notice(problem.message, { bad: true }));
    this.history.begin(this.live);
    this.page?.again?.();
    this.changed();
  }

  /** Say which clients are on the screen: those are told of in full. */
  see(rows) {
    this.seen = rows.map((row) => row.id).filter((id) => id > 0);
    this.lookAgain();
  }

  lookAgain() {
    if (this.live.state !== "live" || !this.roster.ready) return;
    const wanted = { of: this.watching, seen: this.seen, open: [...this.roster.open] };
    const text = JSON.stringify(wanted);
    if (text === this.looked) return;
    this.looked = text;
    this.live.request("look", wanted).catch(() => {});
  }

  /** Do one thing with the hub and say when it cannot be done; undefined then. */
  async attempt(op, given = {}) {
    try {
      return await this.live.request(op, given);
    } catch (problem) {
      notice(problem.hint ? `${problem.message} (${problem.hint})` : problem.message, { bad: true });
      return undefined;
    }
  }

  // ---------------------------------------------------------------- drawing

  changed() {
    if (this.drawn) return;
    this.drawn = true;
    requestAnimationFrame(() => {
      this.drawn = false;
      this.page?.update();
    });
  }

  second() {
    this.roster.tick(1);
    this.history.tick();
    if (this.live.state !== "live") this.drawState();
    this.page?.second?.();
    this.changed();
  }

  drawState() {
    const { state, since } = this.live;
    this.state.dataset.state = state;
    say(this.state, t(`state.${state}`));
    this.banner.hidden = state === "live" || state === "connecting";
    if (state === "stale") {
      say(this.banner, t("stale", { time: span(Math.max(1, (Date.now() - since) / 1000)) }));
    } else if (state === "out") {
      fill(this.banner, t("out"), " ", h("a", { href: "/login" }, t("out.link")));
    }
  }

  // ---------------------------------------------------------------- pages

  go(path) {
    location.hash = `#/${path}`;
  }

  async route() {
    const [name, ...rest] = decodeURIComponent(location.hash.replace(/^#\/?/, "")).split("/");
    const found = PAGES.find((each) => each.name === name) ?? PAGES[0];
    const part = rest.length && found.detail ? found.detail : found.load;
    const turn = ++this.turn;
    const module = await part();
    if (turn !== this.turn) return; // gone on to another page meanwhile
    this.page?.close?.();
    this.roster.open.clear();
    this.seen = [];
    this.page = module.page(this, rest.join("/"));
    document.title = `${this.page.title} · Jackfield`;
    fill(this.main, this.page.element);
    for (const link of this.nav.children) {
      if (link.dataset.page === found.name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.page.update();
    this.page.shown?.();
    this.shown = [name, ...rest].join("/"); // the path of the page that is there
    this.lookAgain();
  }
}

applyTheme();
await loadLanguage();
try {
  globalThis.jackfield = new App(await session()); // for whoever looks into a running page
  globalThis.jackfield.start();
} catch (problem) {
  if (problem.code === "not_logged_in") location.replace("/login");
  else document.body.append(h("main.login", {}, mark(), h("p.bad", { role: "alert" }, problem.message)));
}
