// Four measures of a flower, and the species that a network takes it for. Knows no panels.

import { barsView } from "./answer.js";
import { ask, get, postJson } from "./api.js";
import { field } from "./controls.js";
import { element } from "./dom.js";

// In millimetres, of the 150 flowers that are known.
const SPANS = [[43, 79], [20, 44], [10, 69], [1, 25]];

/** As of KINDS in points.js. */
export function iris({ words, state, write, answer }) {
  const sliders = element("div", { class: "told" });
  const told = element("div", { class: "told" });
  const label = element("p", { class: "label long", role: "status" });
  let mm = /^\d+(\.\d+){3}$/.test(state.mm) ? state.mm.split(".").map((each, n) => Math.min(SPANS[n][1], Math.max(SPANS[n][0], each))) : undefined;
  let bars;
  look();

  function look() {
    write({ mm: mm?.join(".") });
    answer(async (signal) => {
      const page = get("models/iris-mlp");
      if (!bars) begin((await ask(page, signal)).document.card);
      const call = postJson("predict/iris-mlp", { rows: [mm.map((each) => each / 10)] });
      const [prediction] = (await ask(call, signal)).document.predictions;
      label.textContent = prediction.label;
      bars.show(prediction);
      return [page, call];
    });
  }

  function begin({ labels, input: { features } }) {
    mm ??= features.map(({ example }) => Math.round(10 * example));
    bars = barsView(labels, words);
    told.replaceChildren(label, bars.root);
    sliders.replaceChildren(...features.map(({ name, unit }, n) => {
      const [min, max] = SPANS[n];
      const moved = (value) => {
        mm[n] = Number(value);
        look();
      };
      return field(words(`iris.${name}`), { type: "range", min, max, value: mm[n] }, moved, (value) => `${(value / 10).toFixed(1)} ${unit}`);
    }));
  }

  return [sliders, told];
}
