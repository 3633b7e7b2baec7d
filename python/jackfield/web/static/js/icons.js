// The console's few icons: strokes on a grid of 24, decoration only.
import { svg } from "./dom.js";

const PATHS = {
  clients: "M4 7h16M4 12h16M4 17h10",
  rooms: "M4 5h16v11H9l-5 4z",
  automation: "M13 3 5 14h6l-1 7 8-11h-6z",
  traffic: "M3 17l5-6 4 3 5-8 4 5",
  audit: "M6 3h9l4 4v14H6zM9 11h7M9 15h7",
  access: "M14 10a4 4 0 1 0-3.400 3.960L13 16h2v2h2v2h3v-3z",
  settings: "M4 8h9M17 8h3M4 16h3M11 16h9M15 8m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0M9 16m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0",
  send: "M4 12 20 4l-5 16-3-7z",
  back: "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6 6 18",
  search: "M10.500 4a6.500 6.500 0 1 0 0 13a6.500 6.500 0 0 0 0-13M15.500 15.500 20 20",
  plus: "M12 5v14M5 12h14",
  more: "M5 12h.01M12 12h.01M19 12h.01",
};

export function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: PATHS[name] }),
  );
}
