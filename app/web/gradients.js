// The panel "Gradients": a frame for four views, which asks until somebody answers. Knows nothing of what they show.

import { Latest, ask, load } from "./api.js";
import { callView } from "./call.js";
import { element, segments, waitingLine } from "./dom.js";
import { patience } from "./patience.js";

/** Name in links → the module, loaded when it is first shown. Its `view` makes an element of `{words, state, keep(changed), refusal}`,
 * `asked(calls, show)`, which gives `show` their documents, and `work(does)`, for what asks by itself. */
const VIEWS = { formula: "formula_graph.js", activations: "activation_curves.js", descent: "descent.js", xor: "xor_folding.js" };
const NAMES = Object.keys(VIEWS);
// Browsers let a link change a few times in a second.
const WRITTEN_MS = 250;

/** `page` as of recognise.js. */
export function gradients({ words, state: { view, ...given }, remember }) {
  const leaving = new AbortController();
  const refusal = element("p", { class: "refusal", role: "alert", hidden: true });
  const patient = patience(words, leaving.signal, refuse);
  const waiting = waitingLine(words("answer.waiting"), words("stop"), stop);
  const call = callView(words);
  const place = element("div");
  const latest = new Latest(answer, 50);
  const states = {};
  let [shown, timer] = [view in VIEWS ? view : NAMES[0]];
  states[shown] = given;
  choose(shown);

  function choose(name) {
    stop();
    refuse();
    shown = name;
    work(async (given) => {
      const { view } = await load(VIEWS[name]);
      if (!given.aborted) place.replaceChildren(view({ words, state: (states[name] ??= {}), keep, refusal, asked, work }));
    });
  }

  function asked(calls, show) {
    work(async (given) => {
      const told = await Promise.all(calls.map((call) => ask(call, given)));
      if (!given.aborted) show(...told.map(({ document }) => document));
      return calls[0];
    });
  }

  /** Resolves when it is done, refused or stopped; `does(given)` may give the call that it asked. */
  function work(does) {
    return new Promise((resolve) => latest.ask({ does, resolve }));
  }

  async function answer({ does, resolve }, given) {
    waiting.begin();
    await patient.until(async () => {
      const asked = await does(given);
      if (given.aborted || !asked) return;
      refuse();
      call.show(asked);
    }, given);
    if (!given.aborted) waiting.end();
    resolve();
  }

  function stop() {
    latest.stop();
    patient.hide();
    waiting.end();
  }

  /** What stands there pales: it is of something else. */
  function refuse(problem) {
    refusal.hidden = !problem;
    place.classList.toggle("alone", Boolean(problem));
    if (problem) refusal.replaceChildren(element("strong", {}, words.problem(problem)), " ", problem.message);
  }

  function keep(changed) {
    Object.assign(states[shown], changed);
    timer ??= setTimeout(write, WRITTEN_MS);
  }

  function write() {
    clearTimeout(timer);
    timer = undefined;
    remember({ view: shown === NAMES[0] ? undefined : shown, ...states[shown] });
  }

  function close() {
    leaving.abort();
    stop();
    clearTimeout(timer);
  }

  const choice = segments(NAMES, shown, (name) => (choose(name), write()), (name) => words(`gradients.${name}`), words("panel.gradients"));
  const top = element("div", { class: "top" }, element("h1", {}, words("panel.gradients")), choice);
  return { root: element("div", {}, top, patient.root, place, element("div", { class: "foot" }, waiting.root), call.root), close };
}
