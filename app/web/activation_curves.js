// The view "Activations": a function, its slope, and the tangent at a place that one moves.

import { Latest, ask, postJson } from "./api.js";
import { field, select, slider } from "./controls.js";
import { drawing, element } from "./dom.js";
import { curve, plane } from "./plot.js";

/** Which take a parameter, from 0 to what. */
const FUNCTIONS = { step: {}, sigmoid: { alpha: 5 }, tanh: { alpha: 5 }, softplus: {}, relu: {}, "leaky-relu": { slope: 1 } };
const USUAL = { alpha: 1, slope: 0.01 };
// The service's range, so that each place of the slider is one of its x.
const [FROM, TO, POINTS] = [-6, 6, 241];

export function view({ words, state, keep, until, refusal, signal }) {
  const figure = element("figure", { onpointermove: point, onpointerdown: point });
  const told = element("p", { class: "sure", role: "status" });
  const note = element("p", { class: "hint" });
  const at = slider("x", { min: FROM, max: TO, step: (TO - FROM) / (POINTS - 1), value: state.at ?? 1 }, moved);
  const parameters = element("div", { class: "row" });
  const latest = new Latest((call, given) => until((either) => answer(call, either), AbortSignal.any([given, signal])), 50);
  let [known, drawn] = [];
  signal.addEventListener("abort", () => latest.stop());
  choose(state.function in FUNCTIONS ? state.function : "sigmoid");

  function choose(name) {
    const sliders = Object.entries(FUNCTIONS[name]).map(([parameter, max]) => {
      const value = (state[parameter] ??= USUAL[parameter]);
      return slider(parameter, { min: 0, max, step: 0.01, value }, (value) => (keep({ [parameter]: value }), look(name)));
    });
    parameters.replaceChildren(...sliders);
    look(name);
  }

  function look(name) {
    const given = Object.keys(FUNCTIONS[name]).map((each) => [each, Number(state[each])]);
    keep({ function: name });
    latest.ask(postJson("gradients/activations", { function: name, from: FROM, to: TO, points: POINTS, ...Object.fromEntries(given) }));
  }

  async function answer(call, given) {
    const { document } = await ask(call, given);
    if (given.aborted) return;
    known = document;
    show();
    return call;
  }

  function moved(x) {
    keep({ at: x });
    if (known) show();
  }

  function point(event) {
    if (!drawn || (event.type === "pointermove" && event.pointerType !== "mouse")) return;
    const [x] = drawn.from(event);
    at.lastChild.value = x;
    moved(Number(at.lastChild.value));
  }

  function show() {
    const { x, values, derivatives, saturated, kink } = known;
    const n = Math.round(((Number(at.lastChild.value) - FROM) / (TO - FROM)) * (POINTS - 1));
    const all = [...values, ...derivatives];
    const tangent = (each) => [each, values[n] + derivatives[n] * (each - x[n])];
    drawn = plane({ x: [FROM, TO], y: [Math.min(-1, ...all), Math.max(1.25, ...all)], label: words("activations.plane", { name: known.function }) });
    const flat = x.flatMap((each, n) => (saturated[n] ? [[each, 0]] : []));
    const half = (TO - FROM) / (POINTS - 1) / 2;
    drawn.inside.append(
      ...flat.map(([each]) => drawing("rect", { class: "flat", x: drawn.at(each - half, 0)[0], width: drawn.at(half, 0)[0] - drawn.at(-half, 0)[0] + 0.5, height: "100%" })),
      curve(drawn, x.map((each, n) => [each, values[n]])),
      curve(drawn, x.map((each, n) => [each, derivatives[n]]), { class: "contra" }),
      curve(drawn, [tangent(FROM), tangent(TO)], { class: "pro" }),
      drawing("circle", { cx: drawn.at(x[n], 0)[0], cy: drawn.at(0, values[n])[1], r: 5 }),
    );
    figure.replaceChildren(drawn.root);
    told.textContent = words("activations.at", { x: short(x[n]), value: short(values[n]), slope: short(derivatives[n]) });
    note.textContent = kink && !x[n] ? words("activations.kink", { slope: kink.derivative }) : words("activations.legend");
  }

  return element("div", { class: "view" }, element("div", { class: "row" }, select(Object.keys(FUNCTIONS), state.function ?? "sigmoid", choose), parameters), refusal, figure, at, told, note);
}

const short = (number) => Number(number.toPrecision(4));
