// The panel "Gradients": a frame for four views, which asks until somebody answers. Knows nothing of what they show.

import { load } from "./api.js";
import { callView } from "./call.js";
import { element, waitingLine } from "./dom.js";
import { patience } from "./patience.js";

/** Name in links → the module, whose `view` makes an element of `{words, state, keep(changed), until(work, given), refusal, signal}`. */
const VIEWS = { formula: "formula_graph.js", activations: "activation_curves.js", descent: "descent.js", xor: "xor_folding.js" };
const NAMES = Object.keys(VIEWS);
// Browsers refuse to change a link many times in a second.
const WRITTEN_MS = 250;

/** `page` as of recognise.js. */
export function gradients({ words, state: { view, ...state }, remember }) {
  const leaving = new AbortController();
  const refusal = element("p", { class: "refusal", role: "alert", hidden: true });
  const patient = patience(words, leaving.signal, refuse);
  const waiting = waitingLine(words("gradients.waiting"), words("stop"), () => asking.abort());
  const call = callView(words);
  const place = element("div");
  const buttons = NAMES.map((name) => element("button", { type: "button", onclick: () => (show(name), write()) }, words(`gradients.${name}`)));
  const states = {};
  let [showing, asking] = [new AbortController(), new AbortController()];
  let [shown, written, timer] = [view in VIEWS ? view : NAMES[0], 0];
  const root = element(
    "div",
    { class: "gradients" },
    element("div", { class: "top" }, element("h1", {}, words("panel.gradients")), element("div", { class: "segments", role: "group" }, buttons)),
    patient.root,
    place,
    element("div", { class: "foot" }, waiting.root),
    call.root,
  );
  states[shown] = state;
  show(shown);

  function show(name) {
    showing.abort();
    showing = new AbortController();
    const { signal } = showing;
    shown = name;
    buttons.forEach((button, n) => button.setAttribute("aria-pressed", String(NAMES[n] === name)));
    refuse();
    until(async () => {
      const { view } = await load(VIEWS[name]);
      if (!signal.aborted) place.replaceChildren(view({ words, state: (states[name] ??= {}), keep, until, refusal, signal }));
    }, signal);
  }

  /** Until somebody answers, or it is refused or stopped. What `work(given)` gives is the call that it asked. */
  async function until(work, given) {
    asking = new AbortController();
    const either = AbortSignal.any([given, asking.signal, leaving.signal]);
    waiting.begin();
    await patient.until(async () => {
      const asked = await work(either);
      if (either.aborted || !asked) return;
      refuse();
      call.show(asked);
    }, either);
    if (!given.aborted) waiting.end();
    if (asking.signal.aborted) patient.hide();
  }

  /** What stands there pales: it is of something else. */
  function refuse(problem) {
    refusal.hidden = !problem;
    root.classList.toggle("alone", Boolean(problem));
    if (problem) refusal.replaceChildren(element("strong", {}, words.problem(problem)), " ", problem.message);
  }

  function keep(changed) {
    Object.assign(states[shown], changed);
    clearTimeout(timer);
    timer = setTimeout(write, written + WRITTEN_MS - performance.now());
  }

  function write() {
    clearTimeout(timer);
    written = performance.now();
    remember({ view: shown === NAMES[0] ? undefined : shown, ...states[shown] });
  }

  return {
    root,
    close() {
      leaving.abort();
      showing.abort();
      clearTimeout(timer);
      waiting.end();
    },
  };
}
