// The view "Descent": optimisers race down a surface from one start.

import { Problem, get, postJson } from "./api.js";
import { field, number, select, stepper } from "./controls.js";
import { drawing, element } from "./dom.js";
import { contour, curve, plane } from "./plot.js";

const [STEPS, CELLS, LEVELS, LEAST] = [300, 64, 14, -8];
const MARGIN = 1.25; // of the usual start: so far the surface goes
const LINES = { sgd: "", momentum: "pro", nesterov: "pro dashed", rmsprop: "contra dashed", adam: "contra" };
const NAMES = Object.keys(LINES);

export function view({ words, state, keep, refusal, asked }) {
  const [surface, losses, legend, choice] = [element("figure", { onclick: pointed }), element("figure"), element("div"), element("span")];
  const axes = ["x", "y"].map((axis) => field(axis, { type: "number", step: "any" }, (value) => go({ [axis]: value })));
  const rates = { type: "range", min: -1, max: 1, step: 0.1, value: number(state.rates, 0, -1, 1) };
  const times = (power) => Number((10 ** power).toPrecision(2));
  const steps = stepper({ words, state, keep }, draw);
  const surfaces = new Map();
  let [problems, paper, runs] = [];
  race();

  function offer(told) {
    problems = Object.fromEntries(told.problems.filter(({ expression }) => expression).map((each) => [each.name, each]));
    state.surface = Object.hasOwn(problems, state.surface) ? state.surface : "ravine";
    choice.replaceChildren(select(words("gradients.descent"), Object.keys(problems), state.surface, (name) => go({ surface: name, x: undefined, y: undefined }), words.called));
    race();
  }

  function go(changed) {
    steps.pause();
    keep({ ...changed, step: undefined });
    race();
  }

  function pointed(event) {
    if (!paper || paper !== surfaces.get(state.surface)) return; // what stands there is of something else
    const [x, y] = paper.from(event).map((each) => Number(each.toFixed(2)));
    go({ x, y });
  }

  function race() {
    if (!problems) return asked([get("train")], offer);
    const { name, start, learning_rates: usual, expression } = problems[state.surface];
    const point = ["x", "y"].map((axis, n) => number(state[axis], start.point[n]));
    axes.forEach(({ lastChild: input }, n) => input === document.activeElement || (input.value = point[n]));
    const settings = NAMES.map((each) => ({ optimiser: each, learning_rate: Number((usual[each] * times(number(state.rates, 0, -1, 1))).toPrecision(2)) }));
    const far = MARGIN * Math.max(...start.point);
    const places = Array.from({ length: CELLS + 1 }, (_, n) => far * ((2 * n) / CELLS - 1));
    const around = { constants: { x: [places], y: places.map((each) => [each]) }, v: places.map(() => places.map(() => 0)) };
    const heights = postJson("gradients/expression", { expression, ...around, graph: false, check: false });
    const calls = settings.map((each) => postJson(`train/${name}`, { ...each, steps: STEPS, weights: { point } }));
    asked(surfaces.has(name) ? calls : [...calls, heights], (...told) => {
      if (told[calls.length]) surfaces.set(name, surfaced(far, told.pop().value, words("gradients.descent")));
      const finite = told.map((each) => each.steps.filter(({ loss }) => loss !== null));
      if (!finite[0].length) throw new Problem({ type: "invalid-request", detail: `${words("descent.loss")} (${point.join(", ")}) = ∞` });
      [paper, runs] = [surfaces.get(name), finite];
      legend.replaceChildren(...settings.map(entry));
      steps.reach(STEPS);
    });
  }

  const raced = (name) => !state.without?.split(".").includes(name);

  function entry({ optimiser: name, learning_rate: rate }) {
    const line = drawing("svg", { class: "plane sign", "aria-hidden": "true" }, drawing("path", { class: LINES[name], d: "M0 8H32" }));
    return element("label", {}, element("input", { type: "checkbox", checked: raced(name), onchange: left }), line, `${name}, η = ${rate}: `, element("output"));
  }

  function left() {
    const boxes = [...legend.querySelectorAll("input")];
    keep({ without: NAMES.filter((_, n) => !boxes[n].checked).join(".") || undefined });
    draw(steps.at());
  }

  function draw(step) {
    const shown = NAMES.map((name, n) => [LINES[name], runs[n]]).filter((_, n) => raced(NAMES[n]));
    const every = shown.flatMap(([, run]) => run.map(({ loss }) => loss));
    const powers = every.every((loss) => loss > 0);
    const height = (loss) => (powers ? Math.max(LEAST, Math.log10(loss)) : loss);
    // What goes beyond four times the first has diverged.
    const far = 4 * Math.abs(runs[0][0].loss) + 1;
    const y = [Math.max(-far, Math.min(...every)), Math.min(far, Math.max(...every))].map(height);
    const below = plane({ x: [0, STEPS], y: [y[0], y[1] + 0.1], label: words("descent.loss"), height: 240, upwards: powers ? power : undefined });
    paper.layer.replaceChildren();
    for (const [kind, run] of shown) {
      const gone = run.slice(0, step + 1);
      const [cx, cy] = paper.at(...gone.at(-1).weights.point);
      paper.layer.append(curve(paper, gone.map(({ weights }) => weights.point), { class: kind }), drawing("circle", { class: kind, cx, cy, r: 5 }));
      below.inside.append(curve(below, gone.map(({ loss }, n) => [n, height(loss)]), { class: kind }));
    }
    surface.replaceChildren(paper.root);
    losses.replaceChildren(element("figcaption", {}, words("descent.loss")), below.root);
    runs.forEach((run, n) => (legend.children[n].lastChild.value = run[step]?.loss.toPrecision(3) ?? "∞"));
  }

  const top = element("div", { class: "row" }, choice, axes, field(words("descent.rates"), rates, (value) => go({ rates: value }), (power) => `× ${times(power)}`));
  const [one, other] = [[surface, element("p", { class: "hint" }, words("descent.hint"))], [losses, legend]].map((each) => element("div", {}, each));
  return element("div", { class: "view" }, top, refusal, element("div", { class: "sides" }, one, other), steps.root);
}

/** 10 to the `exponent`, beside an axis. */
function power(exponent) {
  const value = Number((10 ** exponent).toPrecision(2));
  return exponent < -2 ? value.toExponential() : value;
}

/** A plane of rows of heights, with contours between which equally much of it lies; its `layer` is to be drawn in, too. */
function surfaced(far, rows, label) {
  const paper = plane({ x: [-far, far], y: [-far, far], label, height: 400 });
  const to = (place) => paper.at(...place.map((each) => far * ((2 * each) / CELLS - 1)));
  const sorted = rows.flat().sort((one, other) => one - other);
  const levels = Array.from({ length: LEVELS }, (_, n) => sorted[Math.floor((sorted.length * (n + 0.5)) / LEVELS)]);
  const layer = drawing("g");
  const lines = levels.map((level) => contour([CELLS + 1, CELLS + 1], (x, y) => rows[y][x] - level, to).line);
  paper.inside.append(...lines.map((d) => drawing("path", { class: "contour", d })), layer);
  return { ...paper, layer };
}
