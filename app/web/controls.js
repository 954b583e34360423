// Things to choose by, and to go through steps with. Knows no panels.

import { element, icon } from "./dom.js";

const SIGNS = { back: "M15 5l-7 7 7 7", play: "M7 5l12 7-12 7z", on: "M9 5l7 7-7 7", end: "M6 5l7 7-7 7M18 5v14" };
const [PAUSE, STEPS_A_FRAME] = ["M8 5v14M16 5v14", 2];

export const field = (text, input) => element("label", { class: "field" }, element("span", {}, text), input);

export function slider(text, attributes, changed) {
  const range = element("input", { type: "range", ...attributes, oninput: () => changed(Number(range.value)) });
  return field(text, range);
}

/** Of names; `choose(name)`. */
export function select(names, chosen, choose) {
  const made = element("select", { onchange: () => choose(made.value) }, names.map((name) => element("option", {}, name)));
  made.value = chosen;
  return made;
}

/** Through the steps that it was told to `reach`, one by one, or by itself until `signal` is aborted. `moved(step)` shows one;
 * `more()`, if there is one, may reach further when the last is passed. */
export function stepper(words, signal, moved, more) {
  const range = element("input", { type: "range", min: 0, "aria-label": words("step.step"), oninput: () => (pause(), put(at())) });
  const place = element("output", { class: "hint" });
  const acts = { back: () => put(at() - 1), play: () => run(), on: () => forwards(1), end: () => forwards(Infinity) };
  const buttons = Object.entries(acts).map(([name, act]) =>
    element("button", { type: "button", "aria-label": words(`step.${name}`), onclick: () => (name !== "play" && pause(), act()) }, icon(SIGNS[name])),
  );
  const [at, last] = [() => Number(range.value), () => Number(range.max)];
  const play = buttons[1];
  let playing = false;
  play.hidden = matchMedia("(prefers-reduced-motion: reduce)").matches;

  function put(step) {
    range.value = Math.min(step, last());
    place.value = `${at()} / ${last()}`;
    moved(at());
  }

  async function forwards(steps) {
    if (more && at() === last()) await more();
    if (!signal.aborted) put(at() + steps);
  }

  async function run() {
    if (playing) return pause();
    show(true);
    if (!more && at() === last()) put(0);
    while (playing && !signal.aborted && (more || at() < last())) {
      await new Promise(requestAnimationFrame);
      if (playing) await forwards(STEPS_A_FRAME);
    }
    pause();
  }

  const pause = () => show(false);

  function show(now) {
    playing = now;
    play.replaceChildren(icon(now ? PAUSE : SIGNS.play));
    play.setAttribute("aria-label", words(now ? "stop" : "step.play"));
  }

  return {
    root: element("div", { class: "row" }, buttons, range, place),
    pause,
    /** There are so many steps; the one is shown. */
    reach(steps, step = at()) {
      range.max = steps;
      put(step);
    },
  };
}
