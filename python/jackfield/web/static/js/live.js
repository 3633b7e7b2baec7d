// One connection to the hub that speaks the operators' protocol, and comes back by itself.

const FIRST_PAUSE = 500; // milliseconds until a lost connection is tried again, doubled up to
const LONGEST_PAUSE = 8000;
const ASKED_EVERY = 5000; // milliseconds: a sign of life is asked for, and
const UNANSWERED = 3; // times in turn without one the connection counts as lost

export class HubError extends Error {
  constructor(told) {
    super(told.message);
    this.code = told.code;
    this.hint = told.hint ?? "";
    this.candidates = told.candidates ?? [];
  }
}

/** `state` is "connecting", "live", "stale" or "out" (nobody is logged in); `onstate` is told when it changes. */
export class Live {
  constructor() {
    this.state = "connecting";
    this.since = Date.now();
    this.onstate = () => {};
    this.onlive = () => {};
    this.next = 1;
    this.waiting = new Map();
    this.pause = FIRST_PAUSE;
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/api/v1/live`);
    this.socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.pause = FIRST_PAUSE;
      this.unanswered = 0;
      this.become("live");
      this.onlive();
      this.pulse = setInterval(() => this.beat(), ASKED_EVERY);
    };
    socket.onmessage = (event) => this.take(JSON.parse(event.data));
    socket.onclose = async (event) => {
      if (socket !== this.socket) return;
      clearInterval(this.pulse);
      this.fail("the connection to the hub was lost");
      if (event.code === 4401 || (!opened && (await this.loggedOut()))) {
        this.become("out");
        return;
      }
      this.become("stale");
      setTimeout(() => this.open(), this.pause);
      this.pause = Math.min(LONGEST_PAUSE, this.pause * 2);
    };
  }

  async loggedOut() {
    try {
      return (await fetch("/api/v1/session")).status === 401;
    } catch {
      return false; // the hub is not there
    }
  }

  beat() {
    this.unanswered += 1;
    if (this.unanswered > UNANSWERED) this.socket.close();
    else this.request("hello").catch(() => {});
  }

  become(state) {
    if (this.state === state) return;
    if (this.state === "live" || state === "live") this.since = Date.now();
    this.state = state;
    this.onstate(state);
  }

  take(message) {
    this.unanswered = 0;
    const waiter = this.waiting.get(message.id);
    if (!waiter) return;
    if ("event" in message) {
      waiter.onevent(message.event);
      return;
    }
    this.waiting.delete(message.id);
    if ("error" in message) waiter.reject(new HubError(message.error));
    else waiter.resolve(message.ok);
  }

  fail(why) {
    const waiting = [...this.waiting.values()];
    this.waiting.clear();
    for (const waiter of waiting) waiter.reject(new HubError({ code: "lost", message: why }));
  }

  /** Ask for something that tells events before it is done: its id and what it comes to. */
  stream(op, given = {}, onevent = () => {}) {
    const id = this.next++;
    const done = new Promise((resolve, reject) => {
      if (this.socket?.readyState !== WebSocket.OPEN) {
        reject(new HubError({ code: "lost", message: "the hub is not connected" }));
        return;
      }
      this.waiting.set(id, { resolve, reject, onevent });
      this.socket.send(JSON.stringify({ id, op, ...given }));
    });
    return { id, done };
  }

  /** Ask for something; what it comes to. Throws HubError. */
  request(op, given = {}) {
    return this.stream(op, given).done;
  }

  cancel(id) {
    this.request("cancel", { of: id }).catch(() => {});
  }
}
