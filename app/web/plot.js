// A plane with axes to draw curves and points in, as SVG. Knows no panels and no words.

import { drawing } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, GAP] = [480, 320, 44, 28, 10];
// Beyond that nothing is seen, and not much further SVG has no numbers.
const FAR = 100_000;

/**
 * From `x[0]` to `x[1]`, and upwards from `y[0]` to `y[1]`; `label` says what is drawn, for who does not see it. In `layer`,
 * or `inside`, where the axes cut things off, they are drawn at `at(x, y)`, in units of the drawing; `from(event)` is where
 * somebody points, as `[x, y]`; `upwards(y)` how a number beside the axis is written.
 */
export function plane({ x, y, label, height = HEIGHT, upwards = written }) {
  const bottom = height - BOTTOM;
  const across = (value) => LEFT + ((value - x[0]) / (x[1] - x[0])) * (WIDTH - LEFT - GAP);
  const up = (value) => bottom - ((value - y[0]) / (y[1] - y[0])) * (bottom - GAP);
  const layer = drawing("g");
  const frame = { x: LEFT, y: GAP, width: WIDTH - LEFT - GAP, height: bottom - GAP };
  const inside = drawing("svg", { ...frame, viewBox: Object.values(frame).join(" ") });
  const root = drawing(
    "svg",
    { class: "plane", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label },
    ticks(...x).map((value) => [
      drawing("line", { class: "gridline", x1: across(value), x2: across(value), y1: GAP, y2: bottom }),
      drawing("text", { x: across(value), y: height - GAP, "text-anchor": "middle" }, written(value)),
    ]).flat(),
    ticks(...y).map((value) => [
      drawing("line", { class: "gridline", x1: LEFT, x2: WIDTH - GAP, y1: up(value), y2: up(value) }),
      drawing("text", { x: LEFT - GAP / 2, y: up(value), "text-anchor": "end", "dominant-baseline": "central" }, upwards(value)),
    ]).flat(),
    inside,
    layer,
  );
  return {
    root,
    layer,
    inside,
    at: (one, other) => [across(one), up(other)].map((each) => Math.min(FAR, Math.max(-FAR, each))),
    from(event) {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(root.getScreenCTM().inverse());
      const share = [(place.x - LEFT) / (WIDTH - LEFT - GAP), (bottom - place.y) / (bottom - GAP)];
      return share.map((each, n) => [x, y][n][0] + Math.min(1, Math.max(0, each)) * ([x, y][n][1] - [x, y][n][0]));
    },
  };
}

/** A line through points of a plane; `attributes` of the path. */
export function curve({ at }, points, attributes) {
  return drawing("path", { d: points.map(([x, y], n) => `${n ? "L" : "M"}${at(x, y).map((each) => each.toFixed(2)).join(" ")}`).join(""), ...attributes });
}

/** Where `field(column, row)` of a grid is above 0, cell by cell, and the line around that, as paths; `to` says where things are drawn. */
export function contour([columns, rows], field, to) {
  const written = (places) => `M${places.map((each) => to(each).map((value) => value.toFixed(1))).join("L")}`;
  const made = { area: "", line: "" };
  for (let column = 1; column < columns; column++)
    for (let row = 1; row < rows; row++) {
      const corners = [[column - 1, row - 1], [column, row - 1], [column, row], [column - 1, row]];
      const [inside, crossed] = [[], []];
      corners.forEach((corner, n) => {
        const next = corners[(n + 1) % 4];
        const [here, there] = [field(...corner), field(...next)];
        if (here > 0) inside.push(corner);
        if (here > 0 === there > 0) return;
        const between = corner.map((value, n) => value + (here / (here - there)) * (next[n] - value));
        inside.push(between);
        crossed.push(between);
      });
      if (inside.length) made.area += `${written(inside)}Z`;
      for (let n = 0; n < crossed.length; n += 2) made.line += written(crossed.slice(n, n + 2));
    }
  return made;
}

/** From three to six round numbers of a range. */
function ticks(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, n) => (first + n) * step);
}

// 20000 as 20K: there is no room for more. There is no −0.
const written = (value) => (value + 0).toLocaleString("en", { notation: "compact", maximumSignificantDigits: 6 });
