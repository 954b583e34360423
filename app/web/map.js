// One map of a layer, number by number; of a first convolution the arithmetic at one place, too: window, filter, sum.
// Loaded when somebody first looks at a map. Knows no panels.

import { get } from "./api.js";
import { element } from "./dom.js";

// Of each side: at so many places the arithmetic is tried before it is shown, and has to be right to so much.
const PLACES = 5;
const EXACT = 1e-4;

/**
 * `layer` is as an explanation tells it, `input` the name of what it is computed from, `model` that of the model. `asked(call)`
 * resolves to what the service answers, `numbers(name)` to a layer's; `linked(model)` is the link to another model.
 */
export async function mapView(words, { model, layer, input, asked, numbers, linked }) {
  const maps = await numbers(layer.name);
  if (!maps) return { root: element("p", { role: "status" }, words("map.many")), choose() {} };
  const convolved = layer.operation === "Conv" && input ? await first(model, input, asked, numbers) : undefined;
  const [height, width] = [maps[0].length, maps[0][0].length];
  const canvas = element("canvas", { width, height, role: "img", onclick: (event) => pointed(event) });
  const mark = element("span", { class: "mark", "aria-hidden": "true" });
  const inputs = ["map", "row", "column"].map((name, n) => {
    const most = [maps.length, height, width][n] - 1;
    const field = element("input", { type: "number", min: 0, max: most, value: 0, oninput: () => show(), onchange: () => clamp() });
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
    convolved?.elsewhere && element("p", { class: "hint" }, words("map.elsewhere"), convolved.elsewhere.map((name) => [" ", element("a", { href: linked(name) }, name)]).flat()),
  );

  /** What the fields say, as far as it is there. */
  const chosen = () => inputs.map(({ field, most }) => Math.min(most, Math.max(0, Math.trunc(Number(field.value)) || 0)));

  /** So that the fields say what is shown. */
  function clamp() {
    chosen().forEach((value, n) => (inputs[n].field.value = value));
  }

  function pointed({ clientX, clientY }) {
    const box = canvas.getBoundingClientRect();
    inputs[1].field.value = Math.floor(((clientY - box.top) / box.height) * height);
    inputs[2].field.value = Math.floor(((clientX - box.left) / box.width) * width);
    clamp();
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
    const filter = convolved?.filters?.get(`${model}/${map}`);
    const bias = filter && biasOf(maps[map], convolved.picture, filter);
    if (bias === undefined) {
      told.textContent = words("map.value", { row, column, value: short(value) });
      arithmetic.replaceChildren();
      return;
    }
    const window = under(convolved.picture, filter, row, column, height);
    const products = multiplied(window, filter);
    // A sign never stands at the end of a line, away from what comes after it.
    const term = (sign, numbers) => element("div", { class: "term" }, element("span", { class: "sign" }, sign), numbers);
    arithmetic.replaceChildren(
      grid(words("map.window"), window),
      term("×", grid(words("map.filter"), filter)),
      term("=", grid(words("map.products"), products)),
    );
    told.textContent = words("map.sum", { sum: short(total(products)), bias: short(bias), value: short(value) });
  }

  choose(0);
  return { root, choose };
}

/** The picture that a first convolution goes over, and the filters of it that have a name, or where there are none, the
 * models whose filters have; nothing of a later one. */
async function first(model, input, asked, numbers) {
  const given = await numbers(input);
  const picture = typeof given?.[0][0] === "number" ? given : given?.length === 1 ? given[0] : undefined;
  if (!picture) return undefined;
  const { kernels } = await asked(get("convolution"));
  const filters = new Map(kernels.filter(({ name }) => name.startsWith(`${model}/`)).map(({ name, values }) => [name, values]));
  if (filters.size) return { picture, filters };
  return { elsewhere: [...new Set(kernels.map(({ name }) => name.split("/")).filter((parts) => parts[1]).map(([name]) => name))] };
}

const multiplied = (window, filter) => filter.map((line, y) => line.map((weight, x) => weight * window[y][x]));
const total = (rows) => rows.flat().reduce((one, other) => one + other, 0);

/** What is missing from the sums of products: the bias, if it is the same wherever the window lies. Undefined if it is
 * not: then the window does not go one step at a time over a picture with zeros around it, and no sum is shown. */
function biasOf(map, picture, filter) {
  const [height, width] = [map.length, map[0].length];
  const missing = [];
  for (let step = 0; step < PLACES; step++)
    for (let other = 0; other < PLACES; other++) {
      const [row, column] = [height, width].map((side, n) => Math.round(((n ? other : step) / (PLACES - 1)) * (side - 1)));
      missing.push(map[row][column] - total(multiplied(under(picture, filter, row, column, height), filter)));
    }
  missing.sort((one, other) => one - other);
  const scale = Math.max(1, ...map.flat().map(Math.abs));
  return missing.at(-1) - missing[0] <= EXACT * scale ? missing[missing.length >> 1] : undefined;
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
