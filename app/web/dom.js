// Elements of the page in one expression each. Knows no words and no API.

/**
 * An element with attributes and children. A function is a listener (`onclick`), `false` and `undefined` leave an
 * attribute out, `true` is one without a value.
 */
export const element = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);

/** The same of a drawing. */
export const drawing = (tag, attributes, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

function filled(made, attributes = {}, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== false));
  return made;
}

/** A line drawing of 24 × 24 in the colour of the text; `path` as SVG has it. */
export const icon = (path) => drawing("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, drawing("path", { d: path }));

/** Buttons of which one is pressed: `choose(name)` is told which. `text(name)` stands on it; `label` says what is chosen. */
export function segments(names, chosen, choose, text = (name) => name, label) {
  const press = (name) => buttons.forEach((button, n) => button.setAttribute("aria-pressed", names[n] === name));
  const buttons = names.map((name) => element("button", { type: "button", onclick: () => (press(name), choose(name)) }, text(name)));
  press(chosen);
  return element("div", { class: "segments", role: "group", "aria-label": label }, buttons);
}

/** Who is there with the keyboard goes on from around it. */
export function hide(root) {
  const around = root.parentElement;
  if (root.contains(document.activeElement)) {
    around.tabIndex = -1;
    around.focus({ preventScroll: true });
  }
  root.hidden = true;
}

// What takes less is not worth a word.
const SLOW_MS = 400;

/** A line that says `text` and, where one can, offers to `stop`, from a while after `begin()` until `end()`. */
export function waitingLine(text, stopping, stop) {
  const button = stop && element("button", { type: "button", class: "quiet", onclick: stop }, stopping);
  const root = element("p", { class: "waiting", hidden: true }, text, button);
  let timer;
  return {
    root,
    begin() {
      clearTimeout(timer);
      timer = setTimeout(() => (root.hidden = false), SLOW_MS);
    },
    end() {
      clearTimeout(timer);
      hide(root);
    },
  };
}
