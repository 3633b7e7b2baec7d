// Which clients are shown, and in which order: the words of the terminal console's /filter.

const FIELDS = {
  tag: (row) => (row.view.tags ?? []).join(" "),
  state: (row) => row.state,
  proto: (row) => row.view.protocol ?? "",
  name: (row) => row.view.name,
  peer: (row) => row.view.peer ?? "",
  note: (row) => row.view.note ?? "",
};

const KEYS = {
  name: (row) => row.view.name.toLowerCase(),
  peer: (row) => row.view.peer ?? "",
  since: (row) => String(row.view.since ?? ""),
  in: (row) => row.rates.in,
  out: (row) => row.rates.out,
  queued: (row) => row.view.queued ?? 0,
  trip: (row) => row.trips.at(-1) ?? -1,
  last: (row) => row.last,
  id: (row) => (row.id > 0 ? row.id : 1e15 - row.id),
};

/** Keys by which more comes before less when they are chosen first. */
export const FALLING = new Set(["in", "out", "queued", "trip", "last", "since"]);

/** What a filter's text asks of a row. */
export function matcher(text) {
  const tests = text.trim().toLowerCase().split(/\s+/).filter(Boolean).map(wordTest);
  return (row) => tests.every((test) => test(row));
}

function wordTest(word) {
  if (word.startsWith("-") && word.length > 1) {
    const test = wordTest(word.slice(1));
    return (row) => !test(row);
  }
  if (word === "unread") return (row) => row.unread > 0;
  if (word === "trouble") return (row) => row.troubled;
  const [name, ...rest] = word.split(":");
  const sought = rest.join(":");
  if (rest.length && name in FIELDS) return (row) => FIELDS[name](row).toLowerCase().includes(sought);
  return (row) => haystack(row).includes(word);
}

function haystack(row) {
  const { name, peer, note, tags, id } = row.view;
  return `${name} ${peer} ${note ?? ""} ${(tags ?? []).join(" ")} ${id}`.toLowerCase();
}

export function listed(rows, { text, key, falling }) {
  const fits = matcher(text);
  const value = KEYS[key] ?? KEYS.id;
  const found = [];
  for (const row of rows) if (fits(row)) found.push([value(row), row]);
  const way = falling ? -1 : 1;
  found.sort(([a, first], [b, second]) => (a < b ? -way : a > b ? way : first.id - second.id));
  return found.map(([, row]) => row);
}
