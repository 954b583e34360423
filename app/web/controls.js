// Fields, and a way through steps. Knows no panels.

import { element } from "./dom.js";

const SIGNS = { back: "←", play: "▷", on: "→", end: "⇥" };
// So many steps need no haste.
const [FEW, SLOW_MS] = [30, 700];

/** An input with its name, and what it is `said` to be at where one slides; `changed(value)` gets a text. */
export function field(text, attributes, changed, said = (value) => value) {
  const output = attributes.type === "range" && element("output", {}, said(attributes.value));
  const oninput = ({ target: { value } }) => {
    if (output) output.value = said(value);
    changed(value);
  };
  return element("label", {}, element("span", {}, text), element("input", { "aria-label": text, ...attributes, oninput }), output);
}

export function select(text, names, chosen, choose, said = (name) => name) {
  return element("select", { "aria-label": text, onchange: ({ target }) => choose(target.value) }, names.map((name) => element("option", { value: name, selected: name === chosen }, said(name))));
}

/** Through steps, one by one or by itself; `moved(step)` shows one. It begins at `state.step`, or at the last, or, where there
 * is `more()` to have of them, at 0. */
export function stepper({ words, state, keep }, moved, more) {
  const range = element("input", { type: "range", min: 0, max: 0, "aria-label": words("step.step"), oninput: () => (turn(false), put(at())) });
  const place = element("output");
  const acts = { back: () => put(at() - 1), play: run, on: () => forwards(1), end: () => forwards(last()) };
  const pressed = (act) => () => (act === run || turn(false), act());
  const buttons = Object.entries(acts).map(([name, act]) =>
    element("button", { type: "button", "aria-label": words(`step.${name}`), onclick: pressed(act) }, SIGNS[name]),
  );
  const [, play] = buttons;
  const [at, last] = [() => Number(range.value), () => Number(range.max)];
  let playing = false;
  play.hidden = matchMedia("(prefers-reduced-motion: reduce)").matches;

  function put(step) {
    range.value = step;
    place.value = `${at()} / ${last()}`;
    keep({ step: at() === (more ? 0 : last()) ? undefined : at() });
    moved(at());
  }

  async function forwards(steps) {
    if (at() === last()) await more?.();
    if (at() === last()) turn(false);
    else put(at() + steps);
  }

  async function run() {
    if (playing) return turn(false);
    turn(true);
    if (!more && at() === last()) put(0);
    while (playing && play.isConnected) {
      await new Promise((done) => (last() < FEW ? setTimeout(done, SLOW_MS) : requestAnimationFrame(done)));
      if (playing) await forwards(last() < FEW ? 1 : 2);
    }
  }

  function turn(on) {
    playing = on;
    play.textContent = on ? "‖" : SIGNS.play;
    play.setAttribute("aria-label", words(on ? "stop" : "step.play"));
  }

  return {
    root: element("div", { class: "row" }, buttons, range, place),
    pause: () => turn(false),
    reach(steps, step = state.step ?? (more ? 0 : steps)) {
      range.max = steps;
      put(step);
    },
  };
}
