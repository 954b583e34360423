// The frame of the page: words, theme, and the panel that the link names. A panel is a function in PANELS.

import { element, icon } from "./dom.js";

/**
 * Name in links → the module that is loaded when the panel is first shown. Its function of the same name makes it: of
 * `{words, state, remember, memory}`, `{root, close()}`.
 */
const PANELS = {
  recognise: () => import("./recognise.js"),
  inside: () => import("./inside.js"),
};
const FIRST = "recognise";
const SUN = "M12 8a4 4 0 1 0 .01 0M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.500 1.500M17.500 17.500 19 19M5 19l1.500-1.500M17.500 6.500 19 5";

const root = document.documentElement;
let memory = {}; // the picture, for as long as the page is open: a file has no place in a link
let query = ""; // as it was last written down
let panel;

/** `#recognise?model=mnist-cnn` → the panel's name and what it is to show. */
function linked() {
  const [name, query] = location.hash.slice(1).split("?", 2);
  return { name: name in PANELS ? name : FIRST, state: Object.fromEntries(new URLSearchParams(query)) };
}

function remember(name, state) {
  query = String(new URLSearchParams(Object.entries(state).filter(([, value]) => value !== undefined)));
  history.replaceState(null, "", name === FIRST && !query ? "#" : address(name));
  for (const link of document.querySelectorAll("#panels a")) link.href = address(link.dataset.panel);
}

const address = (name) => `#${name}${query && `?${query}`}`;

async function speak() {
  const { default: texts } = await import(`./words.${root.lang}.js`);
  const words = (key, values = {}) => texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  words.subject = (subject) => texts[`subject.${subject}`] ?? subject;
  words.figure = (name) => texts[`figure.${name}`] ?? name;
  words.label = (label) => texts[`label.${label}`] ?? label;
  // In the service's own words where there are none here.
  words.notice = ({ code, message }) => texts[`notice.${code}`] || message;
  words.problem = ({ kind, title, status }) => texts[`problem.${kind}`] || title || String(status);
  return words;
}

async function show() {
  const { name, state } = linked();
  const [words, module] = await Promise.all([speak(), PANELS[name]()]);
  if (linked().name !== name) return; // left before it was there
  panel?.close();
  document.title = `Percept – ${words(`panel.${name}`)}`;
  panel = module[name]({ words, state, memory, remember: (state) => remember(name, state) });
  document.querySelector("#panel").replaceChildren(panel.root);
  document.querySelector("#switches").replaceChildren(...switches(words));
  const links = Object.keys(PANELS).map((each) =>
    element(
      "a",
      { href: address(each), "data-panel": each, "aria-current": each === name ? "page" : undefined },
      words(`panel.${each}`),
    ),
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

async function translate() {
  root.lang = root.lang === "ko" ? "en" : "ko";
  keep({ language: root.lang });
  await show();
  document.querySelector("#switches button").focus();
}

function keep(chosen) {
  try {
    localStorage.setItem("percept", JSON.stringify({ ...JSON.parse(localStorage.getItem("percept") ?? "{}"), ...chosen }));
  } catch {
    // Where storage is forbidden, the choice holds until the page is closed.
  }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("relight")));
addEventListener("hashchange", () => {
  // Another panel goes on with the picture; another link has its own.
  if ((location.hash.split("?")[1] ?? "") !== query) memory = {};
  show();
});
show();
