// The panel "Points": what k-means, a support vector machine and a network make of numbers. Knows no arithmetic.

import { element, segments } from "./dom.js";
import { iris } from "./iris.js";
import { kmeans } from "./kmeans.js";
import { desk } from "./patience.js";
import { svm } from "./svm.js";

/** Each gets `{words, state, write(state), answer(job)}` and gives its elements; a job resolves to the calls it made. */
const KINDS = { "k-means": kmeans, SVM: svm, Iris: iris };

/** `page` as of recognise.js. */
export function points({ words, state: { of, ...first }, remember, memory }) {
  const begun = Object.hasOwn(KINDS, of) ? of : "k-means";
  const states = (memory.points ??= {});
  const place = element("div", { class: "work" });
  const { line, refusal, foot, call, work, stop } = desk(words, { place });
  states[begun] = first;
  begin(begun);

  function begin(kind) {
    const write = (state) => remember({ of: kind, ...(states[kind] = state) });
    const nothing = () => (stop(), call.show());
    nothing();
    place.replaceChildren(...KINDS[kind]({ words, state: states[kind] ?? {}, write, answer: (job) => (job ? work(job) : nothing()) }));
  }

  const top = element("div", { class: "top" }, element("h1", {}, words("panel.points")), segments(Object.keys(KINDS), begun, begin));
  foot.append(refusal);
  return { root: element("div", { class: "points" }, top, place, foot, call.root, line), close: stop };
}
