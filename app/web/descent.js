// The view "Descent": optimisers race down a surface from one start.

import { Latest, ask, get, postJson } from "./api.js";
import { field, select, slider, stepper } from "./controls.js";
import { drawing, element } from "./dom.js";
import { curve, plane } from "./plot.js";

const [STEPS, CELLS, LEVELS] = [300, 64, 14];
const MARGIN = 1.25; // of the usual start, so far the surface goes
const LINES = { sgd: "", momentum: "pro", nesterov: "pro dashed", rmsprop: "contra dashed", adam: "contra" };

export function view({ words, state, keep, until, refusal, signal }) {
  const root = element("div", { class: "view" });
  const [surface, losses] = [element("figure", { onclick: pointed }), element("figure")];
  const legend = element("tbody");
  const steps = stepper(words, signal, draw);
  const latest = new Latest((_, given) => until(race, AbortSignal.any([given, signal])));
  const axes = ["x", "y"].map((axis) => element("input", { type: "number", step: "any", oninput: ({ target }) => go({ [axis]: target.value }) }));
  let [problems, problem, optimisers, paper, contours, runs] = [];
  signal.addEventListener("abort", () => latest.stop());
  until(begin, signal);

  async function begin(given) {
    const call = get("train");
    const { document } = await ask(call, given);
    if (given.aborted) return;
    optimisers = document.optimisers.map(({ name }) => name);
    problems = Object.fromEntries(document.problems.filter(({ expression }) => expression).map((each) => [each.name, each]));
    state.surface = state.surface in problems ? state.surface : Object.keys(problems)[1];
    const rates = slider(words("descent.rates"), { min: -1, max: 1, step: 0.1, value: state.rates ?? 0 }, (value) => go({ rates: value }));
    const chosen = select(Object.keys(problems), state.surface, (name) => (choose(name), go({ surface: name, x: undefined, y: undefined })));
    const table = element("table", {}, element("thead", {}, element("tr", {}, ["optimiser", "rate", "loss"].map((each) => element("th", { scope: "col" }, words(`descent.${each}`))))), legend);
    root.append(
      element("div", { class: "row" }, chosen, axes.map((each, n) => field("xy"[n], each)), rates),
      refusal,
      element("div", { class: "sides" }, element("div", {}, surface, steps.root, element("p", { class: "hint" }, words("descent.hint"))), element("div", {}, losses, table)),
    );
    choose(state.surface);
    latest.ask();
    return call;
  }

  function choose(name) {
    problem = problems[name];
    contours = undefined;
  }

  function go(changed) {
    steps.pause();
    keep({ ...changed, step: undefined });
    latest.ask();
  }

  function pointed(event) {
    const [x, y] = paper.from(event).map((each) => Number(each.toFixed(2)));
    go({ x, y });
  }

  const shown = () => state.by?.split(".") ?? optimisers;

  function show(name, on) {
    const by = optimisers.filter((each) => (each === name ? on : shown().includes(each)));
    keep({ by: by.length < optimisers.length ? by.join(".") : undefined });
    steps.reach(STEPS);
  }

  async function race(given) {
    const point = ["x", "y"].map((axis, n) => Number(state[axis] ?? problem.start.point[n]));
    const rate = (name) => Number((problem.learning_rates[name] * 10 ** (state.rates ?? 0)).toPrecision(2));
    const calls = optimisers.map((name) => postJson(`train/${problem.name}`, { optimiser: name, learning_rate: rate(name), steps: STEPS, weights: { point } }));
    const { name } = problem;
    const [drawn, ...told] = await Promise.all([contours ?? mapped(problem, given), ...calls.map((call) => ask(call, given))]);
    if (given.aborted || name !== problem.name) return;
    contours = drawn;
    axes.forEach((each, n) => document.activeElement === each || (each.value = point[n]));
    runs = Object.fromEntries(told.map(({ document: { steps } }, n) => [optimisers[n], steps.filter(({ loss }) => loss !== null)]));
    legend.replaceChildren(...optimisers.map((each) => row(each, rate(each))));
    steps.reach(STEPS, Number(state.step ?? STEPS));
    return calls[0];
  }

  function row(name, rate) {
    const box = element("input", { type: "checkbox", checked: shown().includes(name), onchange: () => show(name, box.checked) });
    const line = drawing("svg", { class: "plane sign", "aria-hidden": "true" }, drawing("path", { class: LINES[name], d: "M0 8H32" }));
    return element("tr", {}, element("th", { scope: "row" }, element("label", { class: "field" }, box, line, name)), element("td", {}, rate), element("td"));
  }

  function draw(step) {
    if (!runs) return;
    keep({ step: step === STEPS ? undefined : step });
    const { at, inside } = (paper = plane({ ...contours.size, label: words("descent.surface"), height: 400 }));
    inside.append(...contours.lines.map((d) => drawing("path", { class: "contour", d })));
    const all = shown().map((name) => runs[name].slice(0, step + 1));
    all.forEach((run, n) => {
      const end = run.at(-1).weights.point;
      const [cx, cy] = at(...end);
      inside.append(curve(paper, run.map(({ weights }) => weights.point), { class: LINES[shown()[n]] }), drawing("circle", { cx, cy, r: 4 }));
    });
    surface.replaceChildren(paper.root);
    // By powers of ten where all are above 0.
    const every = shown().flatMap((name) => runs[name].map(({ loss }) => loss));
    const first = runs.sgd[0].loss;
    const logarithmic = every.every((loss) => loss > 0);
    const height = (loss) => (logarithmic ? Math.max(-8, Math.log10(loss)) : loss);
    const [low, high] = [Math.min(...every), Math.max(first, Math.min(Math.max(...every), 2 * Math.abs(first)))].map(height);
    const below = plane({ x: [0, STEPS], y: [Math.max(low, logarithmic ? -8 : high - 60) - 0.01, high + 0.01], label: words("descent.loss"), height: 200 });
    all.forEach((run, n) => below.inside.append(curve(below, run.map(({ loss }, step) => [step, height(loss)]), { class: LINES[shown()[n]] })));
    losses.replaceChildren(element("figcaption", {}, words(logarithmic ? "descent.powers" : "descent.loss")), below.root);
    [...legend.rows].forEach(({ lastChild }, n) => {
      const run = runs[optimisers[n]];
      lastChild.textContent = step < run.length ? Number(run[step].loss.toPrecision(3)) : words("descent.diverged");
    });
  }

  return root;
}

/** The surface around 0, by its expression: `{size, lines}`, contours of levels between which equally much of the area lies. */
async function mapped({ expression, start }, given) {
  const far = MARGIN * Math.max(...start.point.map(Math.abs));
  const places = Array.from({ length: CELLS + 1 }, (_, n) => far * ((2 * n) / CELLS - 1));
  const v = places.map(() => places.map(() => 0));
  const constants = { x: [places], y: places.map((each) => [each]) };
  const { value } = (await ask(postJson("gradients/expression", { expression, constants, v, graph: false, check: false }), given)).document;
  const sorted = value.flat().sort((one, other) => one - other);
  const levels = Array.from({ length: LEVELS }, (_, n) => sorted[Math.floor((sorted.length * (n + 0.5)) / LEVELS)]);
  const size = { x: [-far, far], y: [-far, far] };
  const { at } = plane({ ...size, height: 400 });
  return { size, lines: levels.map((level) => contour(value, level, (x, y) => at(places[0] + (x * 2 * far) / CELLS, places[0] + (y * 2 * far) / CELLS))) };
}

/** Of rows of heights: through the triangles into which each diagonal parts a cell, a line where two sides pass the level. */
function contour(rows, level, at) {
  let path = "";
  for (let y = 0; y < rows.length - 1; y++)
    for (let x = 0; x < rows.length - 1; x++)
      for (const corner of [[x + 1, y], [x, y + 1]]) {
        const ends = [[x, y], corner, [x + 1, y + 1]];
        const crossed = ends.flatMap(([a, b], n) => {
          const [c, d] = ends[(n + 1) % 3];
          const share = (level - rows[b][a]) / (rows[d][c] - rows[b][a]);
          return rows[b][a] < level !== rows[d][c] < level ? [at(a + share * (c - a), b + share * (d - b))] : [];
        });
        if (crossed.length) path += `M${crossed.map((each) => each.map((one) => one.toFixed(1)).join(" ")).join("L")}`;
      }
  return path;
}
