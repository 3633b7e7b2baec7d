// What the console says, in the language that was chosen, the browser's, or English.

const LANGUAGES = { en: "English", zh: "简体中文" };
let words = {};
let language = "en";

export function languages() {
  return LANGUAGES;
}

export function currentLanguage() {
  return language;
}

function chosen() {
  const kept = localStorage.getItem("jackfield.language");
  if (kept in LANGUAGES) return kept;
  for (const each of navigator.languages ?? [navigator.language]) {
    const short = each.slice(0, 2).toLowerCase();
    if (short in LANGUAGES) return short;
  }
  return "en";
}

export async function loadLanguage() {
  language = chosen();
  const answer = await fetch(`/static/i18n/${language}.json`);
  words = await answer.json();
  document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
}

export function chooseLanguage(name) {
  localStorage.setItem("jackfield.language", name);
}

/** The words of a key; `{name}` stands for a value, and `key.one` is said of one (`n`). */
export function t(key, values = {}) {
  const one = values.n === 1 ? words[`${key}.one`] : undefined;
  const text = one ?? words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (all, name) => (name in values ? String(values[name]) : all));
}

/** The words of a key that may be missing: what the hub says is then said as it is. */
export function known(key, otherwise) {
  return words[key] ?? otherwise;
}
