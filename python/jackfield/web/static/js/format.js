// Numbers, times and bytes as people read them, and text that cannot mislead.
import { currentLanguage } from "./i18n.js";

const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
const NAMED = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0", "\x1b": "\\e" };

/** Text of others with everything that draws nothing or reorders what others drew as an escape. */
export function safe(text, keep = "") {
  return String(text ?? "").replace(UNSAFE, (character) => {
    if (keep.includes(character)) return character;
    const code = character.codePointAt(0);
    return NAMED[character] ?? (code < 0x80 ? `\\x${hex(code, 2)}` : `\\u{${hex(code, 4)}}`);
  });
}

export function hex(number, width) {
  return number.toString(16).padStart(width, "0");
}

export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

export function base64Of(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** Bytes as safe text: UTF-8 where it is, \xHH where it is not; line ends inside stay. */
export function asText(bytes) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return mixed(bytes, (byte) => `\\x${hex(byte, 2)}`);
  }
  return safe(text.replace(/\r?\n$/, ""), "\n\t");
}

export function asHex(bytes) {
  const lines = [];
  for (let start = 0; start < Math.max(1, bytes.length); start += 16) {
    const row = [...bytes.subarray(start, start + 16)];
    const digits = row.map((byte) => hex(byte, 2)).join(" ").padEnd(47);
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${hex(start, 4)}  ${digits}  ${text}`);
  }
  return lines.join("\n");
}

/** Text, and what is none as <0d 0a>. */
export function asMixed(bytes) {
  return mixed(bytes, (byte) => `<${hex(byte, 2)}>`).replace(/><(?=[0-9a-f]{2}>)/g, " ");
}

function mixed(bytes, other) {
  let text = "";
  let at = 0;
  while (at < bytes.length) {
    const size = sequence(bytes, at);
    if (size) {
      text += new TextDecoder().decode(bytes.subarray(at, at + size));
      at += size;
    } else {
      text += other(bytes[at]);
      at += 1;
    }
  }
  return text;
}

/** How many bytes at `at` are one printable character; 0 for none. */
function sequence(bytes, at) {
  const first = bytes[at];
  if (first < 0x80) return first >= 0x20 && first < 0x7f ? 1 : 0;
  const size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (!size) return 0;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(at, at + size));
    return safe(text) === text ? size : 0;
  } catch {
    return 0;
  }
}

export function size(count) {
  if (!Number.isFinite(count)) return "";
  if (count < 1000) return `${Math.round(count)} B`;
  let value = count;
  for (const unit of ["kB", "MB", "GB", "TB"]) {
    value /= 1000;
    if (value < 999.5 || unit === "TB") return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
  }
  return "";
}

export function count(number) {
  return new Intl.NumberFormat(currentLanguage()).format(number);
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.1 ? 1 : 0)} ms`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d`;
}

/** A moment in local time: the time of day, or the day if it is another one. Seconds or ISO 8601. */
export function moment(at, now = Date.now()) {
  const date = toDate(at);
  if (!date) return "";
  const today = new Date(now).toDateString() === date.toDateString();
  const style = today ? { hour: "2-digit", minute: "2-digit", second: "2-digit" } : { month: "short", day: "numeric" };
  return new Intl.DateTimeFormat(currentLanguage(), { ...style, hourCycle: "h23" }).format(date);
}

/** All of a moment. */
export function wholeMoment(at) {
  const date = toDate(at);
  const style = { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" };
  return date ? new Intl.DateTimeFormat(currentLanguage(), style).format(date) : "";
}

function toDate(at) {
  if (!at) return null;
  const date = new Date(typeof at === "number" ? at * 1000 : at);
  return Number.isNaN(date.getTime()) ? null : date;
}
