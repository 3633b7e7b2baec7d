// A client of a Jackfield hub in JavaScript, of docs/protocol.md alone: for Node 18 and browsers, without dependencies.
//   const client = await connect("tcp://127.0.0.1:7000", { name: "js" });    // Node: tcp://, tls://, unix://; all: ws://, wss://
//   client.answer = (data) => data;                                          // what others ask
//   console.log(await client.request("dev7", new TextEncoder().encode("status")));
// Connection is the protocol without sockets or clocks: messages and the time in seconds go in, events and messages come out.
// Client puts it on a transport, and comes back when that is lost. From a shell: node jackfield.mjs ADDRESS [CLIENT TEXT]

export const MAGIC = Uint8Array.of(0x8f, 0x4a, 0x41, 0x43, 0x4b, 0x0d, 0x0a, 0x1a);
const KINDS = ["CONTROL", "OPEN", "DATA", "END", "RESET", "CREDIT", "ACK", "PING", "PONG"];
const [CONTROL, OPEN, DATA, END, RESET, CREDIT, ACK, PING, PONG] = KINDS.keys();
const MORE = 1, SHARED = 2, MAX_PAYLOAD = 65536, MAX_CREDIT = 2 ** 31 - 1, ROOMS = 2 ** 31, WINDOW = 1 << 18;
const PASSING = ["handshake_timeout", "rate_limited", "overloaded"]; // the same session may be tried again
const LENGTHS = { [END]: [0, 0], [RESET]: [4, 260], [CREDIT]: [4, 4], [ACK]: [8, 8], [PING]: [8, 8], [PONG]: [8, 8] };
const text = new TextEncoder(), utf8 = new TextDecoder("utf-8", { fatal: true }), lenient = new TextDecoder();
const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const u32 = (value) => { const bytes = new Uint8Array(4); view(bytes).setUint32(0, value); return bytes; };
const u64 = (value) => { const bytes = new Uint8Array(8); view(bytes).setBigUint64(0, BigInt(value)); return bytes; };
const join = (head, tail) => Uint8Array.from([...head, ...tail]);

export class ProtocolError extends Error { constructor(code, message, hint = null) { Object.assign(super(message), { code, hint }); } }
const fail = (code, what) => { throw new ProtocolError(code, what); }, need = (is, what) => is || fail("bad_json", `no ${what}, or wrong`);
const isCount = (value) => Number.isInteger(value) && value >= 0 && value <= 2 ** 53, toJson = (it) => text.encode(JSON.stringify(it));
const isOpen = ({ protocol, hostname }) => /^(tcp|ws):$/.test(protocol) && !/^(|localhost|\[::1\]|127(\.\d+){3})$/.test(hostname);
function fromJson(payload) {
  let value; // stays undefined for what is none
  try { value = JSON.parse(utf8.decode(payload)); } catch {}
  return value?.constructor === Object ? value : fail("bad_json", "what should be a JSON object is none");
}
export const encode = (stream, kind, payload = [], flags = 0) => join([...u32(stream), kind, flags, 0, 0], payload);
export function decode(message) {
  if (message.length < 8) fail("bad_frame", "a frame shorter than its header");
  if (message.length > 8 + MAX_PAYLOAD) fail("too_big", "a frame too long");
  const stream = view(message).getUint32(0), kind = message[4], flags = message[5], size = message.length - 8;
  const [least, most] = LENGTHS[kind] ?? [0, MAX_PAYLOAD], onZero = [CONTROL, ACK, PING, PONG].includes(kind);
  if (kind > PONG || message[6] || message[7]) fail("bad_frame", "an unknown kind, or reserved bits");
  if (flags & ~3 || (flags && kind !== DATA)) fail("bad_frame", "unknown flags");
  if ((stream === 0) !== onZero || size < least || size > most) fail("bad_frame", `a bad ${KINDS[kind]} frame`);
  return { stream, kind, flags, payload: message.slice(8) };
}

/** The client's end of a session. Events are objects with `event` and what the vectors name. */
export class Connection {
  constructor(hello, versions = [1]) { Object.assign(this, { hello, versions, state: "lost", out: [], over: false }).renew(); }
  renew() { this.session = { id: "", key: "", sent: 0, received: 0, kept: [], streams: new Map(), mine: -1, theirs: 0 }; }
  take() { return this.out.splice(0); }
  credit(stream) { const found = this.session.streams.get(stream); return found?.accepted && !found.endedHere ? found.canSend : 0; }
  start(now) {
    Object.assign(this, { out: [], state: "magic", since: now, heard: now, frames: 0, bytes: 0, ackDue: Infinity, pinged: false });
    const { id, key, received } = this.session;
    const hello = { type: "hello", versions: this.versions, ...this.hello, ...(id && { session: { id, key, received } }) };
    this.out.push(MAGIC, encode(0, CONTROL, toJson(hello)));
  }
  lost() { if (this.over) this.renew(); Object.assign(this, { over: false, state: "lost", out: [] }); }
  receive(message, now) {
    const events = [];
    Object.assign(this, { heard: now, pinged: false });
    try {
      if (this.state === "open") this.frame(message, now, events);
      else if (this.state === "magic" || this.state === "handshake") this.handshake(message, events);
    } catch (error) { this.broken(error, events); }
    return events;
  }
  tick(now) { // to be called a few times a second
    const events = [], isYoung = this.state === "magic" || this.state === "handshake", silent = now - this.heard;
    if (isYoung && silent >= 10) this.broken(new ProtocolError("handshake_timeout", "no handshake within 10 s"), events);
    if (this.state === "open" && now >= this.ackDue) this.acknowledge();
    if (this.state === "open" && silent >= 20 && !this.pinged) { this.pinged = true; this.out.push(encode(0, PING, u64(0))); }
    if (this.state === "open" && silent >= 60) this.state = "silent";
    return events;
  }
  control(message) { this.put(0, CONTROL, toJson(message)); }
  open(header) {
    const stream = (this.session.mine += 2);
    this.session.streams.set(stream, { accepted: false, canSend: 0, canReceive: header.credit });
    this.put(stream, OPEN, toJson(header));
    return stream;
  }
  grant(stream, credit) { // the first one accepts a stream that the other side opened
    this.session.streams.get(stream).canReceive += credit;
    this.put(stream, CREDIT, u32(credit));
  }
  send(stream, payload, more = false) {
    if (payload.length + 16 > this.credit(stream)) throw new Error(`stream ${stream} has no credit for it`);
    this.session.streams.get(stream).canSend -= payload.length + 16;
    this.put(stream, DATA, payload, more ? MORE : 0);
  }
  end(stream) {
    this.session.streams.get(stream).endedHere = true;
    this.put(stream, END);
    if (this.session.streams.get(stream).endedThere) this.session.streams.delete(stream);
  }
  reset(stream, code = 1, reason = "") {
    if (this.session.streams.delete(stream)) this.put(stream, RESET, join(u32(code), text.encode(reason).slice(0, 256)));
  }
  attach(stream, credit) { this.session.streams.set(stream, { accepted: true, canSend: credit, canReceive: Infinity }); } // a room
  detach(stream) { this.session.streams.delete(stream); }
  handshake(message, events) {
    if (this.state === "magic" && String(message) !== String(MAGIC)) fail("bad_magic", "this is no Jackfield hub");
    if (this.state === "magic") return (this.state = "handshake");
    const { kind, payload } = decode(message), own = this.session;
    if (kind !== CONTROL) fail("bad_frame", `${KINDS[kind]} within the handshake`);
    const welcome = fromJson(payload), { type, version, session, token } = welcome;
    need(typeof type === "string", "type");
    if (type === "error") return this.failed(welcome, true, events);
    if (type !== "welcome") fail("unknown_type", "the first message is no welcome");
    if (!this.versions.includes(version)) fail("unsupported_version", "the hub chose another version");
    need(typeof session?.id === "string" && typeof session.key === "string" && isCount(session.received), "session");
    need(typeof session.resumed === "boolean", "resumed");
    if (session.resumed) {
      if (session.id !== own.id) fail("bad_session", "the hub resumed another session");
      if (session.received > own.sent || session.received < own.sent - own.kept.length) fail("bad_ack", "no such frames");
      this.release(session.received);
    } else if (own.id) {
      own.streams.forEach((_, stream) => events.push({ event: "was_reset", stream, code: 5, reason: "no session", by_peer: true }));
      this.renew();
    }
    Object.assign(this.session, { id: session.id, key: session.key });
    Object.assign(this, { state: "open", welcomed: welcome, hello: { ...this.hello, ...(token && { token }) } });
    this.out.push(...this.session.kept);
    events.push({ event: "welcomed", welcome, resumed: session.resumed });
  }
  frame(message, now, events) {
    const { stream, kind, flags, payload } = decode(message);
    if (kind <= CREDIT && !(flags & SHARED)) {
      this.session.received++; this.frames++; this.bytes += message.length;
      this.ackDue = Math.min(this.ackDue, now + 1);
    }
    if (kind === CONTROL) this.told(fromJson(payload), events);
    else if (kind === OPEN) this.opened(stream, fromJson(payload), events);
    else if (kind === PING) this.out.push(encode(0, PONG, payload));
    else if (kind === PONG) events.push({ event: "ponged", payload });
    else if (kind === ACK) {
      const frames = Number(view(payload).getBigUint64(0));
      if (frames > this.session.sent) fail("bad_ack", "frames that were never sent");
      if (this.release(frames)) events.push({ event: "acknowledged", frames });
    } else this.onStream(stream, kind, flags, payload, events);
    if (this.frames >= 512 || this.bytes >= 256 << 10) this.acknowledge();
  }
  told(message, events) {
    need(typeof message.type === "string" && (!("n" in message) || isCount(message.n)), "type or n");
    if (message.type === "error" && !("n" in message)) this.failed(message, true, events);
    else if (message.type === "welcome" || message.type === "hello") fail("unknown_type", `another ${message.type}`);
    else events.push({ event: "control", message });
  }
  opened(stream, header, events) {
    if (stream % 2 || stream >= ROOMS || stream <= this.session.theirs) fail("stream_state", `stream ${stream} cannot be opened`);
    need(typeof header.service === "string" && typeof header.from?.id === "string" && isCount(header.credit ?? 0), "a member");
    if (header.credit > MAX_CREDIT) fail("credit_overflow", "too much credit");
    this.session.theirs = stream;
    this.session.streams.set(stream, { accepted: true, canSend: header.credit ?? 0, canReceive: 0 });
    if (this.session.streams.size > 1024) this.reset(stream, 9, "too many streams");
    else events.push({ event: "opened", stream, header });
  }
  onStream(stream, kind, flags, payload, events) {
    const { streams, mine, theirs } = this.session, found = streams.get(stream);
    if (!found) {
      const known = stream >= ROOMS ? stream % 2 === 0 : stream <= (stream % 2 ? mine : theirs);
      if (!known && !(flags & SHARED)) fail("stream_state", `stream ${stream} was never opened`);
      return;
    }
    const tell = (event, facts) => events.push({ event, stream, ...facts });
    const breaks = (code, reason) => { this.reset(stream, code, reason); tell("was_reset", { code, reason, by_peer: false }); };
    const accept = () => { if (!found.accepted) tell("accepted"); found.accepted = true; };
    if (kind === RESET) {
      streams.delete(stream);
      tell("was_reset", { code: view(payload).getUint32(0), reason: lenient.decode(payload.slice(4)), by_peer: true });
    } else if (kind === CREDIT) {
      found.canSend += view(payload).getUint32(0);
      if (found.canSend > MAX_CREDIT) fail("credit_overflow", `too much credit for stream ${stream}`);
      accept();
      if (!found.endedHere) tell("credited", { credit: found.canSend });
    } else if (flags & SHARED) tell("data", { payload, more: false, shared: true });
    else if (found.endedThere || (kind === END && found.inside)) breaks(8, "END within a message, or more behind it");
    else if (accept(), kind === END) {
      found.endedThere = true, tell("ended");
      if (found.endedHere) streams.delete(stream);
    } else if (payload.length + 16 > found.canReceive) breaks(7, "more than was granted");
    else {
      found.canReceive -= payload.length + 16;
      tell("data", { payload, more: (found.inside = Boolean(flags & MORE)), shared: false });
    }
  }
  release(count) { return this.session.kept.splice(0, Math.max(0, count - this.session.sent + this.session.kept.length)).length > 0; }
  put(stream, kind, payload, flags) {
    if (this.state === "failed") return;
    this.session.sent++;
    this.session.kept.push(encode(stream, kind, payload, flags));
    if (this.state === "open") this.out.push(this.session.kept.at(-1));
  }
  acknowledge() {
    this.out.push(encode(0, ACK, u64(this.session.received)));
    Object.assign(this, { frames: 0, bytes: 0, ackDue: Infinity });
  }
  broken(error, events) {
    if (!(error instanceof ProtocolError)) throw error;
    this.out.push(encode(0, CONTROL, toJson({ type: "error", code: error.code, message: error.message, hint: error.hint })));
    this.failed(error, false, events);
  }
  failed({ code, message, hint }, by_peer, events) {
    Object.assign(this, { over: this.state === "open" || !PASSING.includes(code), state: "failed" });
    events.push({ event: "failed", code: typeof code === "string" ? code : "unknown", message, hint, by_peer });
  }
}

/** Messages over a WebSocket or, in Node, a socket: `heard(message)` and `ended(error)` are called. */
async function transport(address, options, heard, ended) {
  const url = new URL(address), over = () => ended(new Error("the hub has ended the connection"));
  if (/^wss?:/.test(address)) {
    [...url.searchParams.keys()].forEach((name) => name.startsWith("jf.") && url.searchParams.delete(name)); // not for the server
    const socket = Object.assign(new WebSocket(url, "jackfield.1"), { binaryType: "arraybuffer" }), wrong = Error(`no WebSocket at ${url}`);
    await new Promise((onopen, failed) => Object.assign(socket, { onopen, onerror: () => failed(wrong) }));
    Object.assign(socket, { onclose: over, onmessage: ({ data }) => heard(new Uint8Array(data)) });
    return { send: (message) => socket.send(message), close: () => socket.close() };
  }
  const tls = url.protocol === "tls:", { connect } = await import(tls ? "node:tls" : "node:net");
  const where = url.protocol === "unix:" ? { path: url.pathname } : { host: url.hostname.replace(/[[\]]/g, ""), port: +url.port };
  const pin = url.searchParams.get("pin")?.replace(/^sha256:/, "").toUpperCase();
  const socket = connect({ ...where, rejectUnauthorized: !pin, ...options });
  await new Promise((done, failed) => socket.once(tls ? "secureConnect" : "connect", done).once("error", failed));
  if (pin && socket.getPeerCertificate().fingerprint256.replaceAll(":", "") !== pin) { socket.destroy(); throw new Error("not the pin"); }
  let buffer = Buffer.alloc(0);
  socket.on("error", () => {}).on("close", over).on("data", (data) => {
    for (buffer = Buffer.concat([buffer, data]); buffer.length >= 4; ) {
      const end = 4 + buffer.readUInt32BE(0);
      if (end > 12 + MAX_PAYLOAD) { socket.destroy(); return; }
      if (buffer.length < end) return;
      heard(Uint8Array.from(buffer.subarray(4, end)));
      buffer = buffer.subarray(end);
    }
  });
  return { send: (message) => socket.write(Buffer.concat([u32(message.length), message])), close: () => socket.end() };
}

/** A session that comes back. `on.opened`, `on.data` ... hear the events of Connection, for programs that want more. */
export class Client {
  constructor(address, hello, options = {}) {
    const token = /[?&](?:jf\.)?invitation=([^&#]*)/.exec(address)?.[1], instance = Math.random().toString(36).slice(2);
    this.connection = new Connection({ instance, agent: "jackfield.mjs", services: ["request"], ...(token && { token }), ...hello });
    Object.assign(this, { address, options, on: {}, n: 0, asked: new Map(), answer: (data) => data });
    this.timer = setInterval(() => this.flush(this.connection.tick(Date.now() / 1000)), 250);
  }
  get token() { return this.connection.hello.token; } // also what came for an invitation: keep it, connect(address, { token })
  async join() {
    if (this.token && !this.options.insecureToken && isOpen(new URL(this.address)))
      throw Error(`${this.address.split("?")[0]} has no TLS, and everyone on the way could read the token; write tls://, or insecureToken`);
    const heard = (message) => this.flush(this.connection.receive(message, Date.now() / 1000));
    this.link = await transport(this.address, this.options, heard, (error) => this.left(error));
    return this.wait("welcomed", 10, () => this.connection.start(Date.now() / 1000));
  }
  left(error) {
    this.connection.lost();
    this.asked.get("welcomed")?.(error);
    if (this.timer) setTimeout(() => this.timer && this.join().catch((again) => this.left(again)), 300 + 400 * Math.random());
  }
  close() { clearInterval(this.timer); this.timer = null; this.link?.close(); }
  flush(events) {
    events.forEach((event) => { this.hear(event); this.on[event.event]?.(event); });
    this.connection.take().forEach((message) => this.link.send(message));
    if (["failed", "silent"].includes(this.connection.state)) this.link.close();
  }
  hear({ event, stream, message, header, payload, code, more, reason }) {
    if (event === "welcomed") this.asked.get(event)?.(this);
    if (event === "failed") this.asked.forEach((settle) => settle(new ProtocolError(code, message)));
    if (event === "control") this.asked.get(`n${message.n}`)?.(message.type === "error" ? new Error(message.message) : message);
    if (event === "opened" && header.service === "request") this.connection.grant(stream, WINDOW);
    if (event === "credited") this.asked.get(`open${stream}`)?.(stream);
    if (event === "was_reset") for (const key of ["open", "answer"]) this.asked.get(key + stream)?.(new Error(reason || `reset ${code}`));
    if (event !== "data" || more || stream >= ROOMS || payload.length < 4) return;
    if (stream % 2) { this.asked.get(`answer${stream}`)?.(payload.slice(4)); return; }
    this.connection.grant(stream, payload.length + 16);
    this.connection.send(stream, join(payload.slice(0, 4), this.answer(payload.slice(4))));
  }
  wait(key, seconds, action) {
    return new Promise((done, failed) => {
      const late = setTimeout(() => failed(new Error(`no answer within ${seconds} s`)), seconds * 1000);
      this.asked.set(key, (value) => { clearTimeout(late); this.asked.delete(key); (value instanceof Error ? failed : done)(value); });
      action(), this.flush([]);
    });
  }
  control(type, members = {}, n = ++this.n) { return this.wait(`n${n}`, 10, () => this.connection.control({ type, n, ...members })); }
  async request(to, data, seconds = 10) {
    const stream = this.connection.open({ to, service: "request", credit: WINDOW });
    await this.wait(`open${stream}`, seconds, () => {});
    const answer = this.wait(`answer${stream}`, seconds, () => this.connection.send(stream, join(u32(1), data)));
    return answer.finally(() => this.connection.reset(stream));
  }
}
export const connect = (address, hello, options, client = new Client(address, hello, options)) => // cert, key: see node:tls; insecureToken
  client.join().catch((error) => { client.close(); throw error; });

if (globalThis.process?.argv[1]?.endsWith("jackfield.mjs")) {
  const [address, peer, words = ""] = process.argv.slice(2), given = process.env.JACKFIELD_TOKEN;
  try {
    if (!address?.includes("://")) throw new Error("usage: [JACKFIELD_TOKEN=jf_...] node jackfield.mjs tcp://HOST:PORT [CLIENT TEXT]");
    const client = await connect(address, given && { token: given }), { token } = client.connection.welcomed;
    if (token) console.error(`jackfield.mjs: the invitation is used up; come again without it, but JACKFIELD_TOKEN=${token}`);
    const asked = peer ? client.request(peer, text.encode(words)).then((answer) => lenient.decode(answer)) : client.control("clients");
    console.log(await asked.finally(() => client.close()));
  } catch (error) { console.error(`jackfield.mjs: ${error.message || error.code}`), (process.exitCode = 1); }
}
