// Four measures of a flower, and the species that a network takes it for. Knows no panels.

import { barsView } from "./answer.js";
import { ask, get, postJson } from "./api.js";
import { element } from "./dom.js";

// In millimetres, of the 150 flowers that are known.
const SPANS = [[43, 79], [20, 44], [10, 69], [1, 25]];

/** As of KINDS in points.js. */
export function iris({ words, state, write, answer }) {
  const sliders = element("div", { class: "told" });
  const told = element("div", { class: "told" });
  const label = element("p", { class: "label long", role: "status" });
  let mm = /^\d+(\.\d+){3}$/.test(state.mm) ? state.mm.split(".").map(Number) : undefined;
  let bars;
  look();

  function look() {
    write({ mm: mm?.join(".") });
    answer(async (signal) => {
      if (!bars) begin((await ask(get("models/iris-mlp"), signal)).document.card);
      const call = postJson("predict/iris-mlp", { rows: [mm.map((each) => each / 10)] });
      const [prediction] = (await ask(call, signal)).document.predictions;
      label.textContent = prediction.label;
      bars.show(prediction);
      return call;
    });
  }

  function begin({ labels, input: { features } }) {
    mm ??= features.map(({ example }) => Math.round(10 * example));
    bars = barsView(labels, words);
    told.replaceChildren(label, bars.root);
    sliders.replaceChildren(...features.map(({ name, unit }, n) => {
      const written = () => `${words(`iris.${name}`)}: ${(mm[n] / 10).toFixed(1)} ${unit}`;
      const text = element("span", {}, written());
      const oninput = ({ target }) => {
        mm[n] = Number(target.value);
        text.textContent = written();
        look();
      };
      return element("label", { class: "told" }, text, element("input", { type: "range", min: SPANS[n][0], max: SPANS[n][1], value: mm[n], oninput }));
    }));
  }

  return [sliders, told];
}
