// Small pictures of numbers over time, drawn with lines.
import { h, say, svg } from "./dom.js";

/** The points of a line through `values`, in a box, the newest at the right edge. */
function line(values, { width, height, most, room = values.length }) {
  const step = width / Math.max(1, room - 1);
  const start = width - step * (values.length - 1);
  return values.map((value, place) => {
    const y = most > 0 ? height - (value / most) * (height - 2) - 1 : height - 1;
    return `${(start + step * place).toFixed(1)},${y.toFixed(1)}`;
  });
}

/** A sparkline without axes; `draw(values)`. */
export function sparkline({ width = 72, height = 20 } = {}) {
  const path = svg("polyline", { class: "spark-line" });
  const element = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "spark", "aria-hidden": "true", preserveAspectRatio: "none" },
    path,
  );
  let drawn = "";
  return {
    element,
    draw(values) {
      const points = values.length < 2 ? "" : line(values, { width, height, most: Math.max(...values) * 1.15 }).join(" ");
      if (points !== drawn) path.setAttribute("points", points);
      drawn = points;
    },
  };
}

/**
 * A chart of several lines over the same time with its highest value, its title and the newest values.
 * `lines` are {key, label}; `draw(history)` takes lists by key.
 */
export function chart({ title, lines, room, form, about }) {
  const [width, height] = [600, 150];
  const paths = lines.map((each, place) => ({
    ...each,
    path: svg("polyline", { class: `chart-line line-${place}` }),
    area: svg("polygon", { class: `chart-area line-${place}` }),
    value: h("span.value"),
  }));
  const top = h("span.chart-most");
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "chart-picture", preserveAspectRatio: "none", "aria-hidden": "true" },
    [0.25, 0.5, 0.75].map((part) =>
      svg("line", { x1: 0, x2: width, y1: height * part, y2: height * part, class: "chart-grid" }),
    ),
    paths.map((each) => [each.area, each.path]),
  );
  const legend = paths.map((each, place) =>
    h("span.legend", {}, h(`span.swatch.line-${place}`, { "aria-hidden": "true" }), each.label, " ", each.value),
  );
  const element = h(
    "section.card.chart",
    { "aria-label": title },
    h("header", {}, h("h2", {}, title), h("div.legends", {}, legend)),
    h("div.chart-box", {}, top, picture),
    h("p.muted.small", {}, about),
  );
  return {
    element,
    draw(history) {
      const most = Math.max(1e-9, ...paths.flatMap(({ key }) => history[key]));
      const ceiling = nice(most);
      say(top, form(ceiling));
      for (const { key, path, area, value } of paths) {
        const values = history[key];
        say(value, form(values.at(-1) ?? 0));
        const points = values.length < 2 ? [] : line(values, { width, height, most: ceiling, room });
        path.setAttribute("points", points.join(" "));
        const left = points[0]?.split(",")[0] ?? 0;
        area.setAttribute("points", points.length ? `${left},${height} ${points.join(" ")} ${width},${height}` : "");
      }
    },
  };
}

/** The next round number above. */
function nice(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((each) => each * unit).find((each) => each >= value * 1.05) ?? 10 * unit;
}
