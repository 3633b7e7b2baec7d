// What one person prefers, kept in this browser: light or dark.

const THEMES = ["auto", "light", "dark"];

export function themes() {
  return THEMES;
}

export function theme() {
  const kept = localStorage.getItem("jackfield.theme");
  return THEMES.includes(kept) ? kept : "auto";
}

export function chooseTheme(name) {
  localStorage.setItem("jackfield.theme", name);
  applyTheme();
}

export function applyTheme() {
  const chosen = theme();
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}
