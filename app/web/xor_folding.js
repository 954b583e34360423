// The view "XOR": a network that learns while one looks, and how its layers fold the plane until a line parts it.

import { postJson, told } from "./api.js";
import { field, number, stepper } from "./controls.js";
import { drawing, element } from "./dom.js";
import { curve, plane } from "./plot.js";

const [RATE, PIECE, MOST, CELLS, LOW, HIGH] = [0.05, 100, 2_000, 20, -0.25, 1.25];
const SIDE = (HIGH - LOW) / CELLS;
const PLACES = Array.from({ length: CELLS + 1 }, (_, n) => LOW + n * SIDE);
const GRID = [...PLACES.map((x) => PLACES.map((y) => [x, y])), ...PLACES.map((y) => PLACES.map((x) => [x, y]))];
const CORNERS = [["contra", [0, 0]], ["contra", [1, 1]], ["pro", [0, 1]], ["pro", [1, 0]]];
const R = 6;

export function view({ words, state, keep, refusal, work }) {
  const seed = field(words("xor.seed"), { type: "number", min: 0, value: number(state.seed, 1, 0) }, (value) => (keep({ seed: value, step: undefined }), begin()));
  const said = element("p", { class: "sure" });
  const figures = [1, 2, 3].map(() => element("figure"));
  const steps = stepper({ words, state, keep }, draw, more);
  let [seen, position] = [];
  begin();

  /** Up to the step that the link names. */
  function begin() {
    steps.pause();
    [seen, position] = [[], {}];
    more(number(state.step, 0, 0, MOST));
  }

  /** On with the training up to a step, piece by piece; what was there when it was stopped is shown. */
  async function more(step = seen.length) {
    const mine = seen;
    const calls = [];
    let done = step > MOST;
    if (done) return;
    await work(async (given) => {
      const reach = () => mine === seen && mine.length && steps.reach(mine.length - 1);
      try {
        for (; mine === seen && (position.steps_so_far ?? -1) < step; reach()) calls.push(await piece(mine, given));
        done = true;
        return calls;
      } finally {
        reach();
      }
    });
    if (mine === seen && !done) steps.pause();
  }

  /** Another hundred steps, one by one as they are sent. */
  async function piece(mine, given) {
    const call = postJson("train/xor", { optimiser: "adam", learning_rate: RATE, seed: number(seed.lastChild.value, 1), steps: PIECE, ...position });
    call.headers.Accept = "text/event-stream";
    for await (const [kind, document] of told(call, given)) {
      if (mine !== seen) continue; // another training has begun
      if (kind === "end") position = { weights: document.weights, state: document.state, steps_so_far: document.steps_so_far };
      // The first of a later piece is the last of the one before.
      else if (document.step === mine.length) mine.push(document);
    }
    return call;
  }

  function draw(step) {
    if (!seen[step]) return; // of another training nothing is there yet
    const { loss, accuracy, weights } = seen[step];
    said.textContent = words("xor.right", { loss: loss.toPrecision(3), right: 4 * accuracy });
    const folded = GRID.map((line) => line.map((place) => network(weights, place)));
    const [far, high] = [0, 1].map((axis) => 2 ** Math.ceil(Math.log2(Math.max(1, ...folded.flat().map((each) => Math.abs(each[axis]))))));
    const captions = ["xor.answers", accuracy === 1 ? "xor.parted" : "xor.folded", "descent.loss"].map((each) => words(each));
    const planes = [
      { x: [LOW, HIGH], y: [LOW, HIGH], height: 380 },
      { x: [-far, far], y: [0, high], height: 380 },
      { x: [0, Math.max(1, seen.length - 1)], y: [0, Math.max(0.8, ...seen.map((each) => each.loss))], height: 160 },
    ].map((each, n) => plane({ ...each, label: captions[n] }));
    const [square, image, losses] = planes;
    square.inside.append(...PLACES.flatMap((x) => PLACES.map((y) => tint(square, [x, y], network(weights, [x, y])[0]))));
    image.inside.append(...folded.map((line) => curve(image, line, { class: "contour" })), curve(image, [[0, 0], [0, high]], { class: "dashed" }));
    losses.layer.append(curve(losses, seen.map((each, n) => [n, each.loss])), mark(losses.at(step, loss)));
    const places = CORNERS.map(([, corner]) => image.at(...network(weights, corner)));
    CORNERS.forEach(([kind, corner], n) => {
      // Around those that are drawn over it.
      const over = places.slice(n + 1).filter(([x, y]) => Math.hypot(x - places[n][0], y - places[n][1]) < R);
      square.layer.append(mark(square.at(...corner), kind));
      image.layer.append(mark(places[n], kind, R + 4 * over.length));
    });
    planes.forEach(({ root }, n) => figures[n].replaceChildren(element("figcaption", {}, captions[n]), root));
  }

  const sides = element("div", { class: "sides" }, figures.slice(0, 2));
  return element("div", { class: "view" }, seed, refusal, said, sides, steps.root, figures[2]);
}

const mark = ([cx, cy], kind, r = R) => drawing("circle", { class: kind, cx, cy, r });

/** Around a place: the surer the answer, the stronger. */
function tint({ at }, [x, y], odds) {
  const [[left, top], [right, low]] = [at(x - SIDE / 2, y + SIDE / 2), at(x + SIDE / 2, y - SIDE / 2)];
  const sure = Math.abs(1 / (1 + Math.exp(-odds)) - 0.5);
  return drawing("rect", { class: odds > 0 ? "pro" : "contra", "fill-opacity": sure, x: left, y: top, width: right - left, height: low - top });
}

/** What the network makes of a place: the log-odds of 1, which its last hidden layer is weighed to, and the plain sum of that layer. */
function network(weights, place) {
  let [hidden, out] = [[], place];
  for (const layer of [1, 2, 3]) {
    hidden = layer > 1 ? out.map((each) => Math.max(0, each)) : out;
    out = weights[`weight${layer}`].map((row, n) => row.reduce((sum, weight, each) => sum + weight * hidden[each], weights[`bias${layer}`][n]));
  }
  return [out[1] - out[0], hidden.reduce((sum, each) => sum + each)];
}
