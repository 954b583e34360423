// The view "XOR": a network that learns while one looks, and how its layers fold the plane until a line divides it.

import { postJson, told } from "./api.js";
import { field, slider, stepper } from "./controls.js";
import { drawing, element } from "./dom.js";
import { curve, plane } from "./plot.js";

const [PIECE, MOST, CELLS] = [100, 3_000, 20];
const CORNERS = [[0, 0], [0, 1], [1, 0], [1, 1]];
const SQUARE = [-0.25, 1.25];
const GRID = Array.from({ length: 13 }, (_, n) => n / 8 - 0.25);

export function view({ words, state, keep, until, refusal, signal }) {
  const seed = element("input", { type: "number", min: 0, value: state.seed ?? 1, oninput: () => again() });
  const rate = slider(words("descent.rate"), { min: 0.01, max: 0.2, step: 0.01, value: state.rate ?? 0.05 }, () => again());
  const said = element("p", { class: "sure", role: "status" });
  const figures = ["answers", "folded", "losses"].map(() => element("figure"));
  const captions = ["xor.answers", "xor.folded", "descent.loss"].map((each) => element("figcaption", {}, words(each)));
  const steps = stepper(words, signal, draw, more);
  let [seen, position, learning] = [[], {}, undefined];
  again(Number(state.step ?? 0));

  async function again(step = 0) {
    learning?.abort();
    learning = new AbortController();
    steps.pause();
    [seen, position] = [[], {}];
    keep({ seed: seed.value, rate: rate.lastChild.value });
    const { signal: given } = learning;
    do await more(given);
    while (seen.length <= Math.min(step, MOST) && !given.aborted && refusal.hidden);
    if (seen.length && !given.aborted) steps.reach(seen.length - 1, step);
  }

  /** A piece of the training, drawn while it comes. */
  async function more(given = learning.signal) {
    if (seen.length > MOST) return;
    const start = seen.length;
    const call = postJson("train/xor", { optimiser: "adam", learning_rate: Number(rate.lastChild.value), seed: Number(seed.value), steps: PIECE, ...position });
    call.headers.Accept = "text/event-stream";
    await until(async (either) => {
      seen.length = start;
      for await (const [kind, event] of told(call, either)) {
        if (kind === "end") position = { weights: event.weights, state: event.state, steps_so_far: event.steps_so_far };
        else if (event.step >= start) seen.push(event);
      }
      if (!either.aborted) steps.reach(seen.length - 1);
      return call;
    }, AbortSignal.any([given, signal]));
  }

  function draw(step) {
    if (!seen[step]) return;
    const { loss, accuracy, weights } = seen[step];
    keep({ step: step || undefined });
    said.textContent = words("xor.right", { loss: loss.toFixed(3), right: 4 * accuracy });
    const square = plane({ x: SQUARE, y: SQUARE, label: captions[0].textContent, height: 360 });
    const side = (SQUARE[1] - SQUARE[0]) / CELLS;
    for (let n = 0; n < CELLS ** 2; n++) {
      const [x, y] = [n % CELLS, Math.floor(n / CELLS)].map((each) => SQUARE[0] + each * side);
      const [[left, top], [right, low]] = [square.at(x, y + side), square.at(x + side, y)];
      const [no, yes] = logits(weights, [x + side / 2, y + side / 2]);
      const share = 1 / (1 + Math.exp(yes - no)) - 0.5;
      square.inside.append(drawing("rect", { class: share < 0 ? "yes" : "no", "fill-opacity": Math.abs(share), x: left, y: top, width: right - left + 0.5, height: low - top + 0.5 }));
    }
    const lines = [...GRID.map((x) => GRID.map((y) => [x, y])), ...GRID.map((y) => GRID.map((x) => [x, y]))].map((line) => line.map((each) => logits(weights, each)));
    const far = 2 ** Math.ceil(Math.log2(Math.max(1, ...lines.flat(2).map(Math.abs))));
    const folded = plane({ x: [-far, far], y: [-far, far], label: captions[1].textContent, height: 360 });
    folded.inside.append(...lines.map((line) => curve(folded, line, { class: "contour" })), curve(folded, [[-far, -far], [far, far]], { class: "dashed" }));
    for (const corner of CORNERS) {
      const kind = corner[0] === corner[1] ? "no" : "yes";
      square.layer.append(mark(square.at(...corner), kind));
      folded.layer.append(mark(folded.at(...logits(weights, corner)), kind));
    }
    const curves = plane({ x: [0, Math.max(PIECE, seen.length - 1)], y: [0, Math.max(0.8, ...seen.map((each) => each.loss))], label: captions[2].textContent, height: 160 });
    curves.inside.append(curve(curves, seen.map((each, n) => [n, each.loss])), mark(curves.at(step, loss), "yes"));
    [square, folded, curves].forEach(({ root }, n) => figures[n].replaceChildren(captions[n], root));
  }

  return element(
    "div",
    { class: "view" },
    element("div", { class: "row" }, field(words("xor.seed"), seed), rate),
    refusal,
    said,
    element("div", { class: "sides" }, figures[0], figures[1]),
    steps.root,
    figures[2],
  );
}

const mark = ([cx, cy], kind) => drawing("circle", { class: `mark-${kind}`, cx, cy, r: 6 });

/** What the network of nine… gives: for "no" and for "yes". */
function logits(weights, place) {
  let given = place;
  for (const layer of [1, 2, 3]) {
    const sums = weights[`weight${layer}`].map((row, n) => row.reduce((sum, weight, each) => sum + weight * given[each], weights[`bias${layer}`][n]));
    given = layer < 3 ? sums.map((sum) => Math.max(0, sum)) : sums;
  }
  return given;
}
