// The plane as a support vector machine divides it, and what it says of one place. Knows no panels.

import { ask, get, postJson } from "./api.js";
import { drawing, element, segments } from "./dom.js";
import { pointed, spot } from "./places.js";
import { contour } from "./plot.js";

const MODELS = ["blobs-svm", "moons-svm"];
// Columns and rows of the grid that is asked about, and how far it goes beyond the points.
const [COLUMNS, ROWS, ROOM] = [49, 33, 0.5];
const SUPPORTING = 1.002; // within the margin or on its edge, as float32 has it

/** As of KINDS in points.js. */
export function svm({ words, state, write, answer }) {
  const now = { ...state, model: MODELS.includes(state.model) ? state.model : MODELS[0] };
  const place = element("div");
  const told = element("p", { class: "sure", role: "status" });
  const support = element("p", { class: "hint" });
  const call = (model, rows) => postJson(`predict/${model}`, { rows });
  let board;
  const [number, there] = ["-?\\d+(\\.\\d+)?", now.at];
  look(new RegExp(`^${number}_${number}$`).test(there) ? there.split("_").map(Number) : undefined);

  /** At a place; if none is given, at the card's example. */
  function look(at) {
    const { model } = now;
    write(Object.assign(now, { at: at?.join("_") }));
    answer(async (signal) => {
      if (board?.model !== model) board = await draw(model, at, signal);
      const asked = call(model, [at ? board.within(at) : board.example]);
      const [{ label, outputs }] = (await ask(asked, signal)).document.predictions;
      const [margin, distance] = [outputs.margin, outputs.distance].map((value) => value?.toFixed(3));
      told.textContent = words(distance ? "points.distance" : "points.margin", { label, margin, distance });
      return [asked, ...board.calls];
    });
  }

  async function draw(model, at, signal) {
    const page = get(`models/${model}`);
    const { points, classes, features } = (await ask(page, signal)).document.card.input;
    const [x, y] = features.map((_, n) => points.map((each) => each[n])).map((all) => [Math.min(...all) - ROOM, Math.max(...all) + ROOM]);
    const along = ([low, high], share) => low + share * (high - low);
    const node = (column, row) => [along(x, column / (COLUMNS - 1)), along(y, row / (ROWS - 1))];
    const grid = Array.from({ length: COLUMNS * ROWS }, (_, n) => node(n % COLUMNS, Math.floor(n / COLUMNS)));
    const all = call(model, [...points, ...grid]);
    const { predictions } = (await ask(all, signal)).document;
    const margin = (n) => predictions[n].outputs.margin;
    const supporting = points.map((_, n) => (classes[n] ? 1 : -1) * margin(n) <= SUPPORTING);
    const made = pointed({ x, y, digits: 2, label: words("points.asked") }, { press: pressed, drag: pressed, move: pressed });
    const outlined = (level, sign = 1) =>
      contour([COLUMNS, ROWS], (column, row) => sign * margin(points.length + row * COLUMNS + column) - level, (at) => made.at(...node(...at)));
    made.root.classList.add("asked");
    made.layer.append(
      ...[-1, 1].map((sign, kind) => spot([0, 0], kind, "side", outlined(0, sign).area)),
      ...[-1, 0, 1].map((level) => drawing("path", { class: level ? "curve edge" : "curve", d: outlined(level).line })),
      ...points.map((each, n) => spot(made.at(...each), classes[n], supporting[n] ? "rim" : "")),
    );
    support.textContent = words("points.support", { count: supporting.filter(Boolean).length, rows: grid.length });
    place.replaceChildren(made.root);
    const example = features.map((each) => each.example);
    made.tell("", at ?? example);
    return { model, example, within: made.within, calls: [page, all] };
  }

  /** What is drawn for one model is no place of another, which comes. */
  function pressed(at) {
    if (board.model === now.model) look(at);
  }

  const choice = segments(MODELS, now.model, (model) => {
    now.model = model;
    look();
  });
  return [place, element("div", { class: "told" }, told, support, choice)];
}
