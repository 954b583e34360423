// One map of a layer, number by number; of a first convolution the arithmetic at one place, too: window, filter, sum.
// Loaded when somebody first looks at a map. Knows no panels.

import { ask, get } from "./api.js";
import { element } from "./dom.js";

/**
 * `layer` is as an explanation tells it, `input` the name of what it is computed from, `numbersOf(name)` the call that
 * gives a layer's numbers, `model` the name of the model. Resolves when there is something to see.
 */
export async function mapView(words, { model, layer, input, numbersOf, number }, signal) {
  const numbers = async (name) => (await ask(numbersOf(name), signal)).document.layers[0].numbers;
  const maps = await numbers(layer.name);
  const convolved = layer.operation === "Conv" && input ? await first(model, input, numbers, signal) : undefined;
  const [height, width] = [maps[0].length, maps[0][0].length];
  const canvas = element("canvas", { width, height, role: "img", onclick: (event) => pointed(event) });
  const mark = element("span", { class: "mark", "aria-hidden": "true" });
  const inputs = ["map", "row", "column"].map((name, n) => {
    const most = [maps.length, height, width][n] - 1;
    const field = element("input", { type: "number", min: 0, max: most, value: 0, oninput: () => show() });
    return { field, most, root: element("label", { class: "hint" }, words(`map.${name}`), field) };
  });
  const arithmetic = element("div", { class: "arithmetic" });
  const told = element("p", { role: "status" });
  const root = element(
    "div",
    { class: "map" },
    element("div", { class: "row" }, inputs.map((each) => each.root)),
    element("div", { class: "row" }, element("div", { class: "frame" }, canvas, mark), arithmetic),
    told,
  );

  /** What the fields say, as far as it is there. */
  const chosen = () => inputs.map(({ field, most }) => Math.min(most, Math.max(0, Math.trunc(Number(field.value)) || 0)));

  function pointed({ clientX, clientY }) {
    const box = canvas.getBoundingClientRect();
    inputs[1].field.value = Math.floor(((clientY - box.top) / box.height) * height);
    inputs[2].field.value = Math.floor(((clientX - box.left) / box.width) * width);
    show();
  }

  function choose(map) {
    const strongest = maps[map].flat().reduce((best, value, n, all) => (Math.abs(value) > Math.abs(all[best]) ? n : best), 0);
    [map, Math.floor(strongest / width), strongest % width].forEach((value, n) => (inputs[n].field.value = value));
    show();
  }

  function show() {
    const [map, row, column] = chosen();
    paint(canvas, maps[map], layer.min, layer.max);
    canvas.setAttribute("aria-label", words("map.of", { map, layer: layer.name }));
    Object.entries({ left: column / width, top: row / height, width: 1 / width, height: 1 / height }).forEach(([side, share]) =>
      mark.style.setProperty(side, `${100 * share}%`),
    );
    const value = maps[map][row][column];
    const filter = convolved?.filters.get(`${model}/${map}`);
    if (!filter) {
      told.textContent = words("map.value", { row, column, value: short(value) });
      arithmetic.replaceChildren();
      return;
    }
    const window = under(convolved.picture, filter, row, column, height);
    const products = filter.map((line, y) => line.map((weight, x) => weight * window[y][x]));
    const sum = products.flat().reduce((one, other) => one + other, 0);
    arithmetic.replaceChildren(
      grid(words("map.window"), window),
      element("span", { class: "sign" }, "×"),
      grid(words("map.filter"), filter),
      element("span", { class: "sign" }, "="),
      grid(words("map.products"), products),
    );
    told.textContent = words("map.sum", { sum: short(sum), bias: short(value - sum), value: short(value) });
  }

  choose(number);
  return { root, choose };
}

/** The picture that a first convolution goes over, and the filters of it that have a name; nothing of a later one. */
async function first(model, input, numbers, signal) {
  const kernels = (await ask(get("convolution"), signal)).document.kernels;
  const filters = new Map(kernels.filter(({ name }) => name.startsWith(`${model}/`)).map(({ name, values }) => [name, values]));
  if (!filters.size) return undefined;
  const given = await numbers(input);
  const picture = typeof given[0][0] === "number" ? given : given.length === 1 ? given[0] : undefined;
  return picture && { picture, filters };
}

/** What lies under the window where its output is at a row and a column: zeros outside, as many as make the output fit. */
function under(picture, filter, row, column, height) {
  const padding = (height - (picture.length - filter.length + 1)) / 2;
  return filter.map((line, y) => line.map((_, x) => picture[row + y - padding]?.[column + x - padding] ?? 0));
}

function grid(title, rows) {
  const most = Math.max(...rows.flat().map(Math.abs)) || 1;
  const cell = (value) => {
    const made = element("td", { class: value < 0 ? "contra" : "pro" }, value.toFixed(2).replace(/^-(0\.00)$/, "$1"));
    made.style.setProperty("--share", Math.abs(value) / most);
    return made;
  };
  return element(
    "table",
    { class: "grid" },
    element("caption", { class: "hint" }, title),
    element("tbody", {}, rows.map((row) => element("tr", {}, row.map(cell)))),
  );
}

/** The least number of the layer black, its greatest white. */
function paint(canvas, rows, least, most) {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  rows.flat().forEach((value, n) => {
    const level = most > least ? (255 * (value - least)) / (most - least) : 0;
    pixels.data.set([level, level, level, 255], 4 * n);
  });
  context.putImageData(pixels, 0, 0);
}

const short = (number) => Number(number.toFixed(4)).toString();
