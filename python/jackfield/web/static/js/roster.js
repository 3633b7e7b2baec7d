// Who is there, kept up to date by what the hub's watch tells. Whoever shows it only reads it.

const SAMPLES = 40; // of a round trip and of rates
const MAX_LOG = 2000;

/** One client: its view as the hub told it, and what this page counts. */
class Row {
  constructor(view) {
    this.view = view;
    this.said = "";
    this.last = 0;
    this.unread = 0;
    this.rates = { in: 0, out: 0, messages: 0 };
    this.before = null; // counters when the rates were made last
    this.trips = []; // round trips in seconds, newest last
  }

  get id() {
    return this.view.id;
  }

  get state() {
    return this.view.conflict ? "conflict" : (this.view.state ?? "connected");
  }

  get troubled() {
    return Boolean(this.view.explain) && !/^(all is well|\d.* on their way)/.test(this.view.explain);
  }
}

export class Roster {
  constructor() {
    this.rows = new Map();
    this.open = new Set(); // conversations that are shown: what they say is read
    this.conversations = new Map();
    this.log = [];
    this.version = 0; // grows when somebody came, went or changed
    this.absences = new Map();
    this.active = new Set();
    this.status = {};
    this.ready = false;
    this.missed = 0;
    this.totals = { in: 0, out: 0, messagesIn: 0, messagesOut: 0 };
    this.onopen = () => {};
    this.onlog = () => {};
  }

  clear() {
    this.rows.clear();
    this.absences.clear();
    this.active.clear();
    this.ready = false;
    this.version++;
  }

  /** Take an event of the watch. */
  apply(event) {
    if (event.reset) this.clear();
    for (const view of event.clients ?? []) this.take(view);
    for (const id of event.gone ?? []) this.rows.delete(id);
    for (const view of event.absent ?? []) this.takeAbsent(view);
    for (const identity of event.returned ?? []) this.rows.delete(this.absences.get(identity));
    for (const row of event.activity ?? []) this.takeActivity(row);
    for (const [id, last, text] of event.previews ?? []) {
      const row = this.rows.get(id);
      if (row) Object.assign(row, { said: text, last: Math.max(row.last, last) });
    }
    for (const said of event.said ?? []) this.conversations.get(said.id)?.add(said);
    if (event.log) this.takeLog(event.log);
    if ("open" in event) this.conversations.get(event.open)?.begin(event);
    if (event.ready) Object.assign(this, { status: event.ready, ready: true });
    for (const count of Object.values(event.missed ?? {})) this.missed += count;
    this.version++;
  }

  take(view) {
    const row = this.rows.get(view.id);
    if (row) row.view = view;
    else this.rows.set(view.id, new Row(view));
    if (view.round_trip !== undefined) this.sample(this.rows.get(view.id), view.round_trip);
  }

  sample(row, seconds) {
    row.trips.push(seconds);
    if (row.trips.length > SAMPLES) row.trips.shift();
  }

  takeAbsent(view) {
    const key = this.absences.get(view.identity) ?? -1 - this.absences.size;
    this.absences.set(view.identity, key);
    this.rows.set(key, new Row({ ...view, id: key, state: "absent" }));
  }

  takeActivity([id, heard, heardBytes, told, toldBytes, last]) {
    this.totals.in += heardBytes;
    this.totals.out += toldBytes;
    this.totals.messagesIn += heard;
    this.totals.messagesOut += told;
    const row = this.rows.get(id);
    if (!row) return;
    this.active.add(id);
    row.before ??= { ...row.view };
    row.view.bytes_in += heardBytes;
    row.view.messages_in += heard;
    row.view.bytes_out += toldBytes;
    row.view.messages_out += told;
    if (heard) {
      row.last = last;
      if (!this.open.has(id)) row.unread += heard;
    }
  }

  takeLog(events) {
    this.log.push(...events);
    if (this.log.length > MAX_LOG) this.log.splice(0, this.log.length - MAX_LOG);
    this.onlog(events);
  }

  /** Make the rates of the last `seconds`, of those who said or were told something. */
  tick(seconds) {
    for (const id of this.active) {
      const row = this.rows.get(id);
      if (!row?.before) {
        this.active.delete(id);
        continue;
      }
      const { view, before } = row;
      row.rates = {
        in: Math.max(0, view.bytes_in - before.bytes_in) / seconds,
        out: Math.max(0, view.bytes_out - before.bytes_out) / seconds,
        messages:
          Math.max(0, view.messages_in + view.messages_out - before.messages_in - before.messages_out) / seconds,
      };
      row.before = row.rates.messages ? { ...view } : null;
    }
  }

  byKey(key) {
    return this.rows.get(Number(key));
  }

  counted() {
    let connected = 0;
    for (const id of this.rows.keys()) connected += id > 0;
    return connected;
  }
}
