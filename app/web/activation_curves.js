// The view "Activations": a function, its slope, and the tangent at a place that one moves.

import { postJson } from "./api.js";
import { field, number, select } from "./controls.js";
import { drawing, element } from "./dom.js";
import { curve, plane } from "./plot.js";

/** Each with what it takes. */
const [ALPHA, SLOPE] = [{ alpha: { value: 1, max: 5 } }, { slope: { value: 0.01, max: 1 } }];
const FUNCTIONS = { sigmoid: ALPHA, tanh: ALPHA, relu: {}, "leaky-relu": SLOPE, softplus: {}, step: {} };
const [FROM, TO, STEP] = [-6, 6, 0.05];

export function view({ words, state, keep, refusal, asked }) {
  const figure = element("figure", { onpointerdown: pressed, onpointermove: (event) => figure.hasPointerCapture(event.pointerId) && pointed(event) });
  const said = element("p", { class: "sure", role: "status" });
  const at = field("x", { type: "range", min: FROM, max: TO, step: STEP, value: number(state.at, 1) }, move);
  const [, slider] = at.children;
  const taken = element("div");
  let [known, drawn] = [];
  state.function = Object.hasOwn(FUNCTIONS, state.function) ? state.function : "sigmoid";
  choose();

  function choose() {
    const parameters = Object.entries(FUNCTIONS[state.function]);
    for (const [key, { value, max }] of parameters) state[key] = number(state[key], value, 0, max);
    const sliders = parameters.map(([key, { max }]) => field(key, { type: "range", min: 0, max, step: 0.01, value: state[key] }, (value) => (keep({ [key]: value }), look())));
    taken.replaceChildren(...sliders);
    look();
  }

  function look() {
    const { function: name } = state;
    const parameters = Object.fromEntries(Object.keys(FUNCTIONS[name]).map((key) => [key, Number(state[key])]));
    asked([postJson("gradients/activations", { function: name, ...parameters, from: FROM, to: TO, points: (TO - FROM) / STEP + 1 })], show);
  }

  function move(x) {
    keep({ at: x });
    if (known) show(known);
  }

  function pressed(event) {
    if (event.button || !drawn) return;
    figure.setPointerCapture(event.pointerId);
    pointed(event);
  }

  function pointed(event) {
    slider.value = drawn.from(event)[0];
    slider.dispatchEvent(new Event("input"));
  }

  function show(told) {
    const { x, values, derivatives, saturated } = (known = told);
    const n = Math.round((slider.valueAsNumber - FROM) / STEP);
    const [here, value, slope] = [x, values, derivatives].map((each) => each[n]);
    const all = [-1, 1.25, ...values, ...derivatives];
    drawn = plane({ x: [FROM, TO], y: [Math.min(...all), Math.max(...all)], label: words("activations.legend") });
    const line = (heights, kind) => curve(drawn, x.map((each, n) => [each, heights[n]]), { class: kind });
    const width = drawn.at(STEP, 0)[0] - drawn.at(0, 0)[0];
    const flat = x.filter((_, n) => saturated[n]).map((each) => drawing("rect", { class: "flat", x: drawn.at(each - STEP / 2, 0)[0], width: width + 0.1, height: "110%" }));
    const [cx, cy] = drawn.at(here, value);
    drawn.inside.append(...flat, line(values), line(derivatives, "contra"), line(x.map((each) => value + slope * (each - here)), "pro"), drawing("circle", { cx, cy, r: 6 }));
    figure.replaceChildren(drawn.root);
    const [X, VALUE, SLOPE] = [here, value, slope].map((each) => Number(each.toPrecision(4)));
    said.textContent = words("activations.at", { x: X, value: VALUE, slope: SLOPE });
  }

  const chosen = select(words("gradients.activations"), Object.keys(FUNCTIONS), state.function, (name) => (keep({ function: name, alpha: undefined, slope: undefined }), choose()));
  const told = element("div", { class: "view" }, element("div", { class: "row" }, chosen, taken), refusal, at, said, element("p", { class: "hint" }, words("activations.legend")));
  return element("div", { class: "view sides" }, figure, told);
}
