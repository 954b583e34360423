// The frame of the page: words, theme, and the panel that the link names. A panel is a function in PANELS.

import { element, icon } from "./dom.js";
import { recognise } from "./recognise.js";

/** Name in links → what makes it: of `{words, state, remember, memory}`, `{root, close()}`. */
const PANELS = { recognise };
const FIRST = "recognise";
const SUN = "M12 8a4 4 0 1 0 .01 0M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.500 1.500M17.500 17.500 19 19M5 19l1.500-1.500M17.500 6.500 19 5";

const root = document.documentElement;
const memory = {}; // of the panel, for as long as the page is open
let panel;

/** `#recognise?model=mnist-cnn` → the panel's name and what it is to show. */
function linked() {
  const [name, query] = location.hash.slice(1).split("?", 2);
  return { name: name in PANELS ? name : FIRST, state: Object.fromEntries(new URLSearchParams(query)) };
}

function remember(name, state) {
  const query = new URLSearchParams(Object.entries(state).filter(([, value]) => value !== undefined));
  history.replaceState(null, "", query.size || name !== FIRST ? `#${name}?${query}` : "#");
}

async function speak() {
  const { default: texts } = await import(`./words.${root.lang}.js`);
  const words = (key, values = {}) => texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  words.label = (label) => texts[`label.${label}`] ?? label;
  // In the service's own words where there are none here.
  words.notice = ({ code, message }) => texts[`notice.${code}`] || message;
  words.problem = ({ kind, title, status }) => texts[`problem.${kind}`] || title || String(status);
  return words;
}

async function show() {
  const words = await speak();
  const { name, state } = linked();
  panel?.close();
  document.title = `Percept – ${words(`panel.${name}`)}`;
  panel = PANELS[name]({ words, state, memory, remember: (state) => remember(name, state) });
  document.querySelector("#panel").replaceChildren(panel.root);
  document.querySelector("#switches").replaceChildren(...switches(words));
  const links = Object.keys(PANELS).map((each) =>
    element("a", { href: `#${each}`, "aria-current": each === name ? "page" : undefined }, words(`panel.${each}`)),
  );
  const nav = document.querySelector("#panels");
  nav.replaceChildren(...links);
  nav.hidden = links.length < 2;
}

function switches(words) {
  const theme = element("button", { type: "button", class: "quiet", "aria-label": words("theme"), onclick: () => relight() }, icon(SUN));
  const language = element("button", { type: "button", class: "quiet", lang: root.lang === "ko" ? "en" : "ko", onclick: () => translate() }, words("language"));
  return [element("a", { class: "quiet", href: "docs" }, words("api")), language, theme];
}

function relight() {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  keep({ theme: root.dataset.theme });
  dispatchEvent(new Event("relight"));
}

function translate() {
  root.lang = root.lang === "ko" ? "en" : "ko";
  keep({ language: root.lang });
  show();
}

function keep(chosen) {
  try {
    localStorage.setItem("percept", JSON.stringify({ ...JSON.parse(localStorage.getItem("percept") ?? "{}"), ...chosen }));
  } catch {
    // Where storage is forbidden, the choice holds until the page is closed.
  }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("relight")));
addEventListener("hashchange", show);
show();
