// What was said with one client, in bounded memory, and the forms in which it leaves this page.
import { asHex, asMixed, asText, bytesOf } from "./format.js";

const KEPT = 1000; // messages

export const VIEWS = { text: asText, hex: asHex, mixed: asMixed };

/** Messages are {at, way: "heard" or "told", by, bytes, cut}; `at` is in Unix seconds. */
export class Conversation {
  constructor(id) {
    this.id = id;
    this.messages = [];
    this.version = 0;
    this.ending = "";
    this.lost = 0;
  }

  /** The beginning, as the hub remembers it. */
  begin({ ending, earlier }) {
    this.ending = ending;
    this.messages = earlier.map((each) => message(each));
    this.version++;
  }

  add(said) {
    this.messages.push(message(said));
    if (this.messages.length > KEPT) {
      this.lost += this.messages.length - KEPT;
      this.messages.splice(0, this.messages.length - KEPT);
    }
    this.version++;
  }
}

function message(said) {
  const way = "heard" in said ? "heard" : "told";
  const bytes = bytesOf(said[way]);
  return { at: said.at, way, by: said.by ?? "", bytes, cut: said.bytes ?? 0 };
}

/** A conversation as a file's text. */
export function exported(messages, form) {
  if (form === "json") {
    const rows = messages.map(({ at, way, by, bytes }) => ({
      time: new Date(at * 1000).toISOString(),
      way,
      ...(by ? { by } : {}),
      text: asText(bytes),
      hex: [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    }));
    return JSON.stringify(rows, null, 2);
  }
  const show = VIEWS[form];
  const lines = messages.map(({ at, way, by, bytes }) => {
    const head = `${new Date(at * 1000).toISOString()} ${way === "heard" ? "<" : `${by} >`}`;
    return form === "hex" ? `${head}\n${show(bytes)}` : `${head} ${show(bytes).replaceAll("\n", "\n    ")}`;
  });
  return lines.join("\n") + "\n";
}

/** A name for a file: what a client is called decides nothing about where it is put. */
export function fileName(name, form) {
  const plain = name.replace(/[^\p{L}\p{N}_-]+/gu, "-").slice(0, 60) || "client";
  return `jackfield-${plain}.${form === "json" ? "json" : "txt"}`;
}

export function download(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
