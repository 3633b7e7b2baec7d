// The JSON API, for what is no operation of the hub: the session, and making bytes of what is typed.
import { HubError } from "./live.js";

let csrf = null;

async function ask(path, options) {
  const answer = await fetch(`/api/v1/${path}`, options);
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new HubError(told.error ?? { code: String(answer.status), message: answer.statusText });
  }
  return told;
}

export async function session() {
  const found = await ask("session");
  csrf = found.csrf;
  return found;
}

export function get(path) {
  return ask(path);
}

export function post(path, body = {}) {
  const headers = { "content-type": "application/json", "x-csrf-token": csrf ?? "" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body) });
}
