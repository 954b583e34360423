// Fields, and a way through steps. Knows no panels.

import { element } from "./dom.js";

const SIGNS = { back: "←", play: "▷", on: "→", end: "⇥" };
// So many steps need no haste.
const [FEW, SLOW_MS] = [30, 700];

/** An input with its name, and what it is `said` to be at where one slides; `changed(value)` gets a text. */
export function field(text, attributes, changed, said = (value) => value) {
  const output = attributes.type === "range" && element("output", {}, said(attributes.value));
  const oninput = ({ target }) => {
    if (output) target.ariaValueText = output.value = said(target.value);
    changed(target.value);
  };
  return element("label", {}, element("span", {}, text), element("input", { "aria-label": text, "aria-valuetext": output && output.value, ...attributes, oninput }), output);
}

/** What a link says, from `low` to `high`; where that is no number, what is `usual`. */
export function number(text, usual, low = -Infinity, high = Infinity) {
  return text === "" || !isFinite(text) ? usual : Math.min(high, Math.max(low, text));
}

export function select(text, names, chosen, choose, said = (name) => name) {
  return element("select", { "aria-label": text, onchange: ({ target }) => choose(target.value) }, names.map((name) => element("option", { value: name, selected: name === chosen }, said(name))));
}

/** Through steps from `first` on, one by one or by itself; `moved(step)` shows one. Until it can `reach` some there is nothing to
 * press. It begins at `state.step`, or at the last, or, where there is `more()` to have of them, at 0. */
export function stepper({ words, state, keep, first = 0 }, moved, more) {
  const range = element("input", { type: "range", min: first, max: first, "aria-label": words("step.step"), disabled: true, oninput: () => (turn(false), go(at())) });
  const place = element("output");
  const acts = { back: () => go(at() - 1), play: run, on: () => forwards(1), end: () => forwards(last()) };
  const pressed = (act) => () => (act === run || turn(false), act());
  const buttons = Object.entries(acts).map(([name, act]) =>
    element("button", { type: "button", disabled: true, "aria-label": words(`step.${name}`), onclick: pressed(act) }, SIGNS[name]),
  );
  const [, play] = buttons;
  const [at, last] = [() => Number(range.value), () => Number(range.max)];
  let playing = false; // or which time it plays: who stops it and plays again does not want it twice
  play.hidden = matchMedia("(prefers-reduced-motion: reduce)").matches;

  function put(step) {
    range.value = step;
    place.value = `${at()} / ${last()}`;
    moved(at());
  }

  function go(step) {
    put(step);
    keep({ step: at() === (more ? 0 : last()) ? undefined : at() });
  }

  async function forwards(steps) {
    const [mine, from] = [playing, at()];
    if (from === last()) await more?.();
    if (mine !== playing) return;
    if (from === last()) turn(false);
    else go(from + steps);
  }

  async function run() {
    if (playing) return turn(false);
    const mine = {};
    turn(mine);
    if (!more && at() === last()) go(first);
    while (playing === mine && play.isConnected) {
      await new Promise((done) => (last() < FEW ? setTimeout(done, SLOW_MS) : requestAnimationFrame(done)));
      if (playing === mine) await forwards(last() < FEW ? 1 : 2);
    }
  }

  function turn(on) {
    playing = on;
    play.textContent = on ? "‖" : SIGNS.play;
    play.setAttribute("aria-label", words(on ? "stop" : "step.play"));
  }

  return {
    root: element("div", { class: "row" }, buttons, range, place),
    at,
    pause: () => turn(false),
    reach(steps) {
      range.max = steps;
      for (const each of [range, ...buttons]) each.disabled = false;
      put(number(state.step, more ? 0 : steps));
    },
  };
}
