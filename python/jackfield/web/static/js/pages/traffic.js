// What passes through the hub: rates since this page was opened, and who says most.
import { chart } from "../charts.js";
import { fill, h, say } from "../dom.js";
import { count, safe, size } from "../format.js";
import { History } from "../history.js";
import { t } from "../i18n.js";

const TOP = 8;
const ASKED_EVERY = 5; // seconds between two looks at the hub's own figures

export function page(app) {
  return new Traffic(app);
}

class Traffic {
  constructor(app) {
    this.app = app;
    this.title = t("nav.traffic");
    this.seconds = 0;
    const room = History.KEPT;
    const about = t("traffic.about");
    const both = (first, second) => [
      { key: first, label: t("clients.in") },
      { key: second, label: t("clients.out") },
    ];
    this.charts = [
      chart({ title: t("traffic.messages"), lines: both("messagesIn", "messagesOut"), room, form: (value) => `${count(Math.round(value))}/s`, about }),
      chart({ title: t("traffic.bytes"), lines: both("in", "out"), room, form: (value) => `${size(value)}/s`, about }),
      chart({ title: t("nav.clients"), lines: [{ key: "clients", label: t("traffic.connected") }], room, form: (value) => count(Math.round(value)), about }),
    ];
    this.figures = h("dl.figures");
    this.top = h("ol.rows.top");
    this.element = h(
      "div.page",
      {},
      h("header.page-head", {}, h("h1", {}, this.title)),
      this.figures,
      h(
        "div.charts",
        {},
        this.charts.map(({ element }) => element),
        h("section.card.block", { "aria-label": t("traffic.top") }, h("header", {}, h("h2", {}, t("traffic.top"))), this.top),
      ),
    );
    this.look();
  }

  update() {
    for (const each of this.charts) each.draw(this.app.history.lines);
  }

  again() {
    this.look();
  }

  second() {
    this.seconds += 1;
    if (this.seconds % ASKED_EVERY === 0) this.look();
    this.drawTop();
  }

  async look() {
    this.drawTop();
    const status = await this.app.live.request("status").catch(() => null);
    if (!status) return;
    const { rates } = status;
    const figures = [
      ["clients", count(status.clients)],
      ["joined", count(status.joined)],
      ["refused", count(status.refused)],
      ["dropped", count(status.dropped)],
      ["messages", rates.messages_in === undefined ? "–" : `${count(Math.round(rates.messages_in + rates.messages_out))}/s`],
      ["memory", size(status.memory)],
      ["lag", status.lag === null ? "–" : `${(status.lag * 1000).toFixed(1)} ms`],
    ];
    if (!this.figures.children.length) {
      fill(this.figures, figures.map(([key]) => h("div.card", {}, h("dt", {}, t(`traffic.${key}`)), h("dd"))));
    }
    figures.forEach(([, value], place) => say(this.figures.children[place].lastChild, value));
  }

  drawTop() {
    const rows = [...this.app.roster.active]
      .map((id) => this.app.roster.rows.get(id))
      .filter((row) => row && row.rates.messages > 0)
      .sort((a, b) => b.rates.in + b.rates.out - a.rates.in - a.rates.out)
      .slice(0, TOP);
    if (!rows.length) {
      fill(this.top, h("li.none.muted", {}, t("traffic.quiet")));
      return;
    }
    fill(
      this.top,
      rows.map((row) =>
        h(
          "li",
          {},
          h("a.grow", { href: `#/clients/${row.id}` }, safe(row.view.name)),
          h("span.muted", {}, `${size(row.rates.in)}/s ${t("clients.in")}`),
          h("span.muted", {}, `${size(row.rates.out)}/s ${t("clients.out")}`),
        ),
      ),
    );
  }
}
