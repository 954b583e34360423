// The panel "Gradients": a frame for four views, which asks until somebody answers. Knows nothing of what they show.

import { ask, load } from "./api.js";
import { element, segments } from "./dom.js";
import { desk } from "./patience.js";

/** Name in links → the module, loaded when it is first shown. Its `view` makes an element of `{words, state, keep(changed), refusal}`,
 * `asked(calls, show)`, which gives `show` their documents, and `work` of a desk, for what asks by itself. */
const VIEWS = { formula: "formula_graph.js", activations: "activation_curves.js", descent: "descent.js", xor: "xor_folding.js" };
const NAMES = Object.keys(VIEWS);

/** `page` as of recognise.js. */
export function gradients({ words, state: { view, ...given }, remember, memory }) {
  const place = element("div");
  const { line, refusal, foot, call, work, stop } = desk(words, { place });
  const states = (memory.gradients ??= {});
  let shown = Object.hasOwn(VIEWS, view) ? view : NAMES[0];
  states[shown] = given;
  choose(shown);

  function choose(name) {
    stop();
    call.show();
    shown = name;
    states[name] ??= {};
    work(async (given) => {
      const { view } = await load(VIEWS[name]);
      // A view that is left has no say: what somebody typed last may still be on its way.
      const its = (act) => (...of) => (name === shown ? act(...of) : undefined);
      if (!given.aborted) place.replaceChildren(view({ words, state: states[name], refusal, keep: its(keep), asked: its(asked), work: its(work) }));
    });
  }

  function asked(calls, show) {
    return work(async (given) => {
      const told = await Promise.all(calls.map((call) => ask(call, given)));
      if (!given.aborted) show(...told.map(({ document }) => document));
      return calls;
    });
  }

  function keep(changed) {
    Object.assign(states[shown], changed);
    remember({ view: shown === NAMES[0] ? undefined : shown, ...states[shown] });
  }

  const choice = segments(NAMES, shown, (name) => (choose(name), keep()), (name) => words(`gradients.${name}`), words("panel.gradients"));
  const top = element("div", { class: "top" }, element("h1", {}, words("panel.gradients")), choice);
  return { root: element("div", {}, top, line, place, foot, call.root), close: stop };
}
