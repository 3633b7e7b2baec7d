// Where something is typed to clients, with all that `jackfield send` can do.
import { get, post } from "./api.js";
import { control, dialog, explain } from "./dialogs.js";
import { fill, h, say } from "./dom.js";
import { asText, bytesOf, count, safe, span } from "./format.js";
import { t } from "./i18n.js";
import { icon } from "./icons.js";

const kept = { form: "text", ending: "", encoding: "utf-8", crc: "" };
const said = []; // what was sent from this page, newest last
let notations = null;

/** A box that sends to `target()`; `many` shows what became of each client. */
export class SendBox {
  constructor(app, { target, many = false }) {
    this.app = app;
    this.target = target;
    this.many = many;
    this.repeating = null;
    this.place = 0;
    this.build();
    this.load();
  }

  build() {
    this.text = h("textarea", {
      rows: "1",
      "aria-label": t("send.text"),
      placeholder: t("send.placeholder"),
      spellcheck: "false",
      autocomplete: "off",
      oninput: () => this.typed(),
      onkeydown: (event) => this.key(event),
    });
    this.form = this.select("form", [["text", t("send.form.text")], ["escapes", t("send.form.escapes")], ["hex", t("send.form.hex")]]);
    this.ending = this.select("ending", [["", t("send.ending.usual")]]);
    this.encoding = this.select("encoding", [["utf-8", "utf-8"]]);
    this.crc = this.select("crc", [["", t("send.crc.none")]]);
    this.snippet = h("select", { "aria-label": t("send.snippet"), onchange: () => this.useSnippet() });
    this.expect = control({ name: "expect", label: t("send.expect"), help: t("send.expect.help") });
    this.timeout = control({ name: "timeout", label: t("send.timeout"), value: "2" });
    this.every = control({ name: "every", label: t("send.every"), help: t("send.every.help") });
    this.times = control({ name: "times", label: t("send.times") });
    this.wave = control({ name: "wave", label: t("send.wave"), help: t("send.wave.help") });
    this.preview = h("p.muted.small.mono.preview");
    this.outcome = h("div.outcome", { role: "status", "aria-live": "polite" });
    this.button = h("button.primary", { type: "submit", "aria-label": t("send.go") }, icon("send"), h("span", {}, t("send.go")));
    const more = [this.expect, this.timeout, this.every, this.times, this.many ? this.wave : null];
    this.element = h(
      "form.sendbox",
      {
        onsubmit: (event) => {
          event.preventDefault();
          this.repeating ? this.stop() : this.send();
        },
      },
      this.outcome,
      h("div.send-line", {}, this.text, this.button),
      this.preview,
      h(
        "details.send-more",
        {},
        h("summary", {}, t("send.more")),
        h("div.send-options", {}, this.labelled("form"), this.labelled("ending"), this.labelled("encoding"), this.labelled("crc"), h("div.field", {}, h("label", { for: "send-snippet" }, t("send.snippet")), this.snippet)),
        h("div.send-options", {}, more.filter(Boolean).map(({ element }) => element)),
      ),
    );
    this.snippet.id = "send-snippet";
  }

  select(name, options) {
    return h(
      "select",
      { id: `send-${name}`, onchange: () => this.chosen(name) },
      options.map(([value, words]) => h("option", { value, selected: value === kept[name] }, words)),
    );
  }

  labelled(name) {
    return h("div.field", {}, h("label", { for: `send-${name}` }, t(`send.${name}`)), this[name]);
  }

  async load() {
    try {
      notations ??= await get("notations");
      this.offer("ending", [["", t("send.ending.usual")], ...notations.endings.filter((each) => each !== "default").map((each) => [each, each.toUpperCase()])]);
      this.offer("encoding", notations.encodings.map((each) => [each, each]));
      this.offer("crc", [["", t("send.crc.none")], ...notations.checksums.map((each) => [each, each])]);
      await this.loadSnippets();
    } catch {
      // without the lists the usual choices stay
    }
  }

  offer(name, options) {
    fill(this[name], options.map(([value, words]) => h("option", { value, selected: value === kept[name] }, words)));
  }

  async loadSnippets() {
    this.snippets = (await get("snippet_list")).snippets;
    fill(
      this.snippet,
      h("option", { value: "" }, t("send.snippet.none")),
      this.snippets.map(({ snippet }) => h("option", { value: snippet }, safe(snippet))),
    );
  }

  useSnippet() {
    const found = this.snippets.find(({ snippet }) => snippet === this.snippet.value);
    this.snippet.value = "";
    if (!found) return;
    const bytes = bytesOf(found.data);
    const text = asText(bytes);
    const plain = !text.includes("\\x") && new TextEncoder().encode(text).length === bytes.length;
    this.text.value = plain ? text : [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    this.form.value = kept.form = plain ? "text" : "hex";
    this.ending.value = kept.ending = found.ending === "default" ? "" : found.ending;
    this.typed();
    this.text.focus();
  }

  chosen(name) {
    kept[name] = this[name].value;
    this.typed();
  }

  typed() {
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(160, this.text.scrollHeight + 2)}px`;
    clearTimeout(this.soon);
    const plain = kept.form === "text" && !kept.crc && kept.encoding === "utf-8";
    if (plain || !this.text.value) say(this.preview, "");
    else this.soon = setTimeout(() => this.foresee(), 250);
  }

  /** Show the bytes that would go out. */
  async foresee() {
    try {
      const { data, bytes } = await this.compose();
      const shown = [...bytesOf(data)].slice(0, 48).map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
      this.preview.classList.remove("bad");
      say(this.preview, `${t("send.bytes", { n: bytes })}: ${shown}${bytes > 48 ? " …" : ""}`);
    } catch (problem) {
      this.preview.classList.add("bad");
      say(this.preview, problem.message);
    }
  }

  compose() {
    const { form, ending, encoding, crc } = kept;
    const given = { text: this.text.value, form, encoding, expect: this.expect.read() };
    return post("compose", { ...given, ...(crc ? { crc } : {}), ...(ending ? { ending } : {}) });
  }

  key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.element.requestSubmit();
    } else if (event.key === "ArrowUp" && (this.place || !this.text.value) && said.length) {
      event.preventDefault();
      this.place = Math.min(said.length, this.place + 1);
      this.text.value = said.at(-this.place);
    } else if (event.key === "ArrowDown" && this.place) {
      event.preventDefault();
      this.place -= 1;
      this.text.value = this.place ? said.at(-this.place) : "";
    }
  }

  async send() {
    const typed = this.text.value;
    if (!typed && kept.form !== "text") return;
    let message;
    try {
      message = await this.compose();
    } catch (problem) {
      this.tell(explain(problem), "bad");
      return;
    }
    if (typed && said.at(-1) !== typed) said.push(typed);
    this.place = 0;
    const every = Number(this.every.read());
    if (every > 0) {
      this.repeat(message, Math.max(0.01, every), Number(this.times.read()) || Infinity);
      return;
    }
    this.text.value = "";
    this.typed();
    await this.once(message);
    this.text.focus();
  }

  async once(message, again = false) {
    const wave = this.many ? Number(this.wave.read()) : 0;
    const given = { target: this.target(), data: message.data, ending: message.ending };
    try {
      if (message.expect || wave) await this.ask(given, message, wave, again);
      else this.report(await this.app.live.request("send", given));
    } catch (problem) {
      this.tell(explain(problem), "bad");
    }
  }

  async ask(given, { expect, binary }, wave, again) {
    const results = [];
    const question = {
      ...given,
      ...(expect ? { expect, binary, timeout: Number(this.timeout.read()) || 2 } : {}),
      ...(wave ? { wave } : {}),
      ...(again ? { again } : {}),
    };
    this.tell(t("send.waiting"));
    await this.app.live.stream("ask", question, (event) => {
      results.push(...(event.results ?? []));
      this.showResults(results);
    }).done;
    if (!results.length) this.tell(t("send.nobody"), "bad");
  }

  showResults(results) {
    const rows = results.slice(0, 200).map(({ name, outcome, seconds, answer, said: other, detail }) => {
      const text = answer ?? other;
      const words = text ? asText(bytesOf(text)) : safe(detail ?? "");
      return h(
        "li",
        {},
        h(outcome === "answered" || outcome === "sent" ? "strong.good" : "strong.bad", {}, t(`outcome.${outcome}`)),
        " ",
        this.many ? `${safe(name)} ` : "",
        h("span.mono", {}, words),
        seconds === undefined ? "" : h("span.muted", {}, ` ${span(seconds)}`),
      );
    });
    fill(this.outcome, h("ul.results", {}, rows));
  }

  report({ sent, dropped, skipped = 0 }) {
    if (dropped || skipped || !sent) this.tell(t("send.partly", { sent, lost: dropped + skipped }), "bad");
    else if (this.many) this.tell(t("send.done", { n: sent }));
    else fill(this.outcome);
  }

  tell(text, kind = "muted") {
    fill(this.outcome, h(`p.${kind}`, {}, text));
  }

  repeat(message, seconds, times) {
    let sent = 0;
    const next = async () => {
      sent += 1;
      await this.once(message, sent > 1);
      if (sent >= times || !this.element.isConnected) this.stop();
      else this.tell(t("send.repeating", { n: count(sent) }));
    };
    this.repeating = setInterval(next, seconds * 1000);
    this.label("send.stop");
    next();
  }

  label(key) {
    say(this.button.lastChild, t(key));
    this.button.setAttribute("aria-label", t(key));
  }

  stop() {
    clearInterval(this.repeating);
    this.repeating = null;
    this.label("send.go");
  }
}

/** Send to many: a target and a box, in a dialog. */
export function broadcastDialog(app, { target }) {
  const where = control({ name: "target", label: t("send.target"), value: target, help: t("send.target.help") });
  const box = new SendBox(app, { target: where.read, many: true });
  dialog({
    title: t("clients.broadcast"),
    body: h("div.stack", {}, where.element, box.element),
    onclose: () => box.stop(),
  });
}
