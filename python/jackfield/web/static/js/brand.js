// The sign of the house.
import { h, svg } from "./dom.js";

export function mark() {
  return h(
    "div.brand",
    {},
    svg(
      "svg",
      { viewBox: "0 0 32 32", class: "sign", "aria-hidden": "true" },
      svg("rect", { width: 32, height: 32, rx: 8 }),
      svg("circle", { cx: 10.5, cy: 11, r: 3.6 }),
      svg("circle", { cx: 21.5, cy: 21, r: 3.6 }),
      svg("path", { d: "M13 13.600c3 3 3 2.500 5.800 4.900" }),
    ),
    h("span", {}, "Jackfield"),
  );
}
