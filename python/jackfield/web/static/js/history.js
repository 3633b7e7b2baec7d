// What passed through the hub since this page was opened, a sample each second, for charts.

const KEPT = 300; // samples, of a second each

export class History {
  constructor(roster) {
    this.roster = roster;
    this.lines = { in: [], out: [], messagesIn: [], messagesOut: [], clients: [] };
    this.before = { ...roster.totals };
    this.live = null;
  }

  begin(live) {
    this.live = live;
    this.before = { ...this.roster.totals };
  }

  tick() {
    if (!this.live || this.live.state !== "live" || !this.roster.ready) return;
    const { totals } = this.roster;
    for (const key of ["in", "out", "messagesIn", "messagesOut"]) this.add(key, totals[key] - this.before[key]);
    this.before = { ...totals };
    this.add("clients", this.roster.counted());
  }

  add(key, value) {
    const line = this.lines[key];
    line.push(value);
    if (line.length > KEPT) line.shift();
  }
}
History.KEPT = KEPT;
