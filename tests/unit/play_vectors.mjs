// Plays the vectors of the protocol with a client in JavaScript: node play_vectors.mjs CLIENT VECTORS. Prints JSON.
import { readFileSync } from "node:fs";

const [client, folder] = process.argv.slice(2);
const { Connection, MAGIC, ProtocolError, decode, encode } = await import(client);
const KINDS = ["CONTROL", "OPEN", "DATA", "END", "RESET", "CREDIT", "ACK", "PING", "PONG"];
const load = (name) => JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8"));
const failures = [];
let played = 0;

const fromHex = (text) => Uint8Array.from(text.split(/\s+/).filter(Boolean).flatMap((part) => {
  const [digits, times] = part.split("*");
  const bytes = [...Buffer.from(digits, "hex")];
  return Array.from({ length: Number(times ?? 1) }, () => bytes).flat();
}));
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const big = (value, size) => Uint8Array.from(Buffer.from(BigInt(value).toString(16).padStart(2 * size, "0"), "hex"));

function toBytes(text) {
  const [, stream, word, rest] = /^(?:(\d+) )?(\S+) ?([^]*)$/.exec(text);
  if (word === "MAGIC") return MAGIC;
  if (word === "HEX") return fromHex(rest);
  const [name, ...flags] = word.split("+");
  let payload = new Uint8Array();
  if (name === "CONTROL" || name === "OPEN") payload = new TextEncoder().encode(rest);
  else if (["DATA", "PING", "PONG"].includes(name)) payload = fromHex(rest);
  else if (name === "CREDIT" || name === "ACK") payload = big(rest, name === "CREDIT" ? 4 : 8);
  else if (name === "RESET") {
    const [, code, reason] = /^(\d+) ?([^]*)$/.exec(rest);
    payload = Uint8Array.from([...big(code, 4), ...new TextEncoder().encode(reason)]);
  }
  const bits = flags.reduce((sum, flag) => sum + { MORE: 1, SHARED: 2 }[flag], 0);
  return Uint8Array.from([...big(stream ?? 0, 4), KINDS.indexOf(name), bits, 0, 0, ...payload]);
}

function fits(wanted, found) {
  if (wanted !== null && typeof wanted === "object" && !Array.isArray(wanted)) {
    return found !== null && typeof found === "object" && Object.keys(wanted).every((name) => fits(wanted[name], found[name]));
  }
  return JSON.stringify(wanted ?? null) === JSON.stringify(found ?? null);
}

function isMessage(wanted, found) {
  const bytes = toBytes(wanted);
  if (bytes[4] === 4 && bytes.length === 12) return hex(found.slice(0, 12)) === hex(bytes);
  const read = (message) => JSON.parse(new TextDecoder().decode(message.slice(8)));
  if (hex(bytes) !== hex(MAGIC) && bytes[4] < 2) return hex(found.slice(0, 8)) === hex(bytes.slice(0, 8)) && fits(read(bytes), read(found));
  return hex(found) === hex(bytes);
}

function act(connection, [action, ...args], now) {
  if (action === "start") return connection.start(now);
  if (action === "send") return connection.send(args[0], fromHex(args[1]), args[2]);
  if (action === "accept") return connection.grant(...args);
  return connection[action](...args);
}

function play(conversation, steps) {
  const hello = conversation.hello ?? { instance: "i1", agent: "test", services: [] };
  const connection = new Connection(hello, conversation.versions);
  let now = 0;
  for (const step of steps) {
    now = step.now ?? now;
    const events = [];
    for (let turn = 0; turn < (step.repeat ?? 1); turn++) {
      for (const message of step.in ?? []) events.push(...connection.receive(toBytes(message), now));
      if (step.do) act(connection, step.do, now);
      if (!step.in && !step.do) events.push(...connection.tick(now));
    }
    const found = events.map((event) => (event.payload ? { ...event, payload: hex(event.payload) } : event));
    const wanted = Array.from({ length: step.repeat ?? 1 }, () => step.events ?? []).flat()
      .map((event) => (event.payload ? { ...event, payload: event.payload.replaceAll(" ", "") } : event));
    const out = connection.take();
    const isRight = found.length === wanted.length && wanted.every((event, i) => fits(event, found[i]))
      && (!step.out || (out.length === step.out.length && step.out.every((message, i) => isMessage(message, out[i]))))
      && (step.failed ?? connection.state === "failed") === (connection.state === "failed");
    if (!isRight) return { step, found, out: out.map(hex), state: connection.state };
  }
  return null;
}

for (const { message, stream, kind, flags, payload } of load("frames").good) {
  played++;
  const frame = decode(fromHex(message));
  const same = frame.stream === stream && frame.kind === KINDS.indexOf(kind) && frame.flags === flags && hex(frame.payload) === hex(fromHex(payload));
  if (!same || hex(encode(stream, KINDS.indexOf(kind), fromHex(payload), flags)) !== hex(fromHex(message))) failures.push({ message });
}
for (const { name, message, code } of load("frames").bad) {
  played++;
  try { decode(fromHex(message)); failures.push({ name, what: "was taken" }); }
  catch (error) { if (!(error instanceof ProtocolError) || error.code !== code) failures.push({ name, what: String(error) }); }
}
for (const file of ["handshake", "conversations"]) {
  const { prelude = {}, conversations } = load(file);
  for (const conversation of conversations.filter(({ role }) => role === "client")) {
    played++;
    const before = conversation.prelude === false ? [] : prelude.client ?? [];
    try {
      const wrong = play(conversation, [...before, ...conversation.steps]);
      if (wrong) failures.push({ name: conversation.name, ...wrong });
    } catch (error) { failures.push({ name: conversation.name, what: error.stack }); }
  }
}
console.log(JSON.stringify({ played, failures }, null, 1));
process.exit(failures.length ? 1 : 0);
