// The panel "Points": what k-means, a support vector machine and a network make of numbers. Knows no arithmetic.

import { Latest } from "./api.js";
import { callView } from "./call.js";
import { element, segments, waitingLine } from "./dom.js";
import { iris } from "./iris.js";
import { kmeans } from "./kmeans.js";
import { patience } from "./patience.js";
import { svm } from "./svm.js";

/** Each gets `{words, state, write(state), answer(job)}` and gives its elements; a job resolves to the call it made. */
const KINDS = { "k-means": kmeans, SVM: svm, Iris: iris };

/** `page` as of recognise.js. */
export function points({ words, state: { of, ...first }, remember }) {
  const begun = Object.hasOwn(KINDS, of) ? of : "k-means";
  const states = { [begun]: first };
  const place = element("div", { class: "work" });
  const refusal = element("p", { class: "refusal", role: "alert" });
  const waiting = waitingLine(words("answer.waiting"), words("stop"), () => stop());
  const patient = patience(words, undefined, (problem) => refusal.replaceChildren(element("strong", {}, words.problem(problem)), " ", problem.message));
  const call = callView(words);
  const latest = new Latest(async (job, signal) => {
    waiting.begin();
    await patient.until(async () => {
      call.show(await job(signal));
      refusal.textContent = "";
    }, signal);
    if (!signal.aborted) waiting.end();
  });
  begin(begun);

  function begin(kind) {
    const write = (state) => remember({ of: kind, ...(states[kind] = state) });
    stop();
    place.replaceChildren(...KINDS[kind]({ words, state: states[kind] ?? {}, write, answer: (job) => (job ? latest.ask(job) : stop()) }));
  }

  function stop() {
    latest.stop();
    waiting.end();
    patient.hide();
    refusal.textContent = "";
  }

  const top = element("div", { class: "top" }, element("h1", {}, words("panel.points")), segments(Object.keys(KINDS), begun, begin));
  const root = element("div", { class: "points" }, top, place, element("div", { class: "foot" }, waiting.root, refusal), call.root, patient.root);
  return { root, close: stop };
}
