// The frame of the page: words, theme, and the panel that the link names.

import { Gone, back, door, keyed, load, unlock } from "./api.js";
import { element, icon } from "./dom.js";

/**
 * As links name them: each is a module that is loaded when the panel is first shown. Its function of the same name makes it: of
 * `{words, state, remember, memory}`, `{root, close()}`.
 */
const PANELS = ["recognise", "inside", "points", "gradients", "lake", "news"];
const FIRST = "recognise";
// Browsers let a link change a hundred times in half a minute.
const WRITTEN_MS = 350;
// They go on with the same picture: what the link says of one holds for the other.
const PICTURED = new Set(["recognise", "inside"]);
const SUN = "M12 8a4 4 0 1 0 .01 0M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5 19 19M5 19l1.5-1.5M17.5 6.5 19 5";

const root = document.documentElement;
let memory = {}; // what has no place in a link, like a file, for as long as the page is open
const queries = new Map(); // what the panels show, by what they are about
let here; // the link as it was shown or written: where it is another one, somebody is on the way there
let [due, written, timer] = [undefined, -Infinity];
let panel;
let shown; // the panel's name
let words;
let showing = new AbortController();

/** `#recognise?model=mnist-cnn` → the panel's name and what it is to show. */
function linked() {
  const [name, query] = location.hash.slice(1).split("?", 2);
  return { name: PANELS.includes(name) ? name : FIRST, state: Object.fromEntries(new URLSearchParams(query)) };
}

function remember(name, state) {
  const query = String(new URLSearchParams(Object.entries(state).filter(([, value]) => value !== undefined)));
  queries.set(about(name), query);
  due = name === FIRST && !query ? "#" : address(name);
  timer ??= setTimeout(write, written + WRITTEN_MS - performance.now());
  if (performance.now() > written + WRITTEN_MS) write();
  for (const link of document.querySelectorAll("#panels a")) link.href = address(link.dataset.panel);
  // To the first panel, with what there is.
  document.querySelector(".wordmark").href = address(FIRST);
  return query;
}

/** What was to be remembered stands in the link, unless that has changed meanwhile. */
function write() {
  timer = clearTimeout(timer);
  if (due === undefined || location.hash !== here) return;
  history.replaceState(null, "", due);
  [due, here, written] = [undefined, location.hash, performance.now()];
}

const about = (name) => (PICTURED.has(name) ? "picture" : name);

function address(name) {
  const query = queries.get(about(name));
  return `#${name}${query ? `?${query}` : ""}`;
}

async function speak(language) {
  const { default: texts } = await load(`words.${language}.js`);
  const words = (key, values = {}) => texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  words.subject = (subject) => texts[`subject.${subject}`] ?? subject;
  words.figure = (name) => texts[`figure.${name}`] ?? name;
  words.called = (name) => texts[`name.${name}`] ?? name;
  words.label = (label) => texts[`label.${label}`] ?? label;
  // In the service's own words where there are none here.
  words.notice = ({ code, message }) => texts[`notice.${code}`] || message;
  words.problem = ({ kind, title, status }) => texts[`problem.${kind}`] || title || String(status);
  return words;
}

/** What the link names, in a language; true when it is there, false if something else was wanted meanwhile. */
async function show(language = root.lang) {
  showing.abort();
  const { signal } = (showing = new AbortController());
  const { name } = linked();
  const loaded = await patiently(() => Promise.all([speak(language), load(`${name}.js`)]), signal);
  if (signal.aborted) return false;
  write();
  const { state } = linked();
  [due, here] = [undefined, location.hash];
  const module = loaded[1];
  words = loaded[0];
  document.querySelector("#away").hidden = true;
  root.lang = language;
  panel?.close();
  label();
  document.title = `Percept – ${words(`panel.${name}`)}`;
  panel = module[name]({ words, state, memory, remember: (state) => remember(name, state) });
  const place = document.querySelector("#panel");
  const within = place.contains(document.activeElement);
  place.replaceChildren(panel.root);
  document.querySelector("#switches").replaceChildren(...switches(words));
  // Who came by the keyboard goes on from here; at first a browser knows best.
  if (within || (shown && shown !== name)) place.focus({ preventScroll: true });
  shown = name;
  const links = PANELS.map((each) =>
    element(
      "a",
      { href: address(each), "data-panel": each, "aria-current": each === name ? "page" : undefined },
      words(`panel.${each}`),
    ),
  );
  const nav = document.querySelector("#panels");
  nav.replaceChildren(...links);
  nav.hidden = links.length < 2;
  return true;
}

/** Does it, again and again while nobody answers, and says so as soon as there are words. */
async function patiently(work, signal) {
  const away = document.querySelector("#away");
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
      if (signal.aborted) return undefined;
      away.textContent = words ? `${words("gone.title")} ${words("gone.detail")}` : "";
      away.hidden = !words;
      await back(signal);
      if (signal.aborted) return undefined;
      away.hidden = true;
    }
  }
}

function switches(words) {
  const theme = element("button", { type: "button", class: "quiet", "aria-label": words("theme"), onclick: () => relight() }, icon(SUN));
  const language = element("button", { type: "button", class: "quiet", lang: root.lang === "ko" ? "en" : "ko", onclick: () => translate() }, words("language"));
  const other = keyed() && element("button", { type: "button", class: "quiet", onclick: () => rekey() }, words("key.other"));
  return [element("a", { class: "quiet", href: "docs" }, words("api")), language, theme, other].filter(Boolean);
}

function relight() {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  keep({ theme: root.dataset.theme });
  dispatchEvent(new Event("relight"));
}

async function translate() {
  if (!(await show(root.lang === "ko" ? "en" : "ko"))) return;
  keep({ language: root.lang });
  document.querySelector("#switches button").focus();
}

function keep(chosen) {
  try {
    localStorage.setItem("percept", JSON.stringify({ ...JSON.parse(localStorage.getItem("percept") ?? "{}"), ...chosen }));
  } catch {
    // Where storage is forbidden, the choice holds until the page is closed.
  }
}

/** Who has given a wrong key is asked again. */
door.want = (refused) =>
  new Promise((resolve) => {
    const form = document.querySelector("#key");
    const before = document.activeElement;
    const input = element("input", { type: "password", id: "secret", required: true, autocomplete: "current-password" });
    form.replaceChildren(element("label", { for: "secret", "data-word": refused ? "key.wrong" : "key.wanted" }), input, element("button", { "data-word": "key.use" }));
    label();
    form.onsubmit = (event) => {
      event.preventDefault();
      form.hidden = true;
      (before !== document.body && before.isConnected ? before : document.querySelector("#panel")).focus();
      resolve(input.value.trim());
    };
    form.hidden = false;
    input.focus();
  });

door.kept = () => document.querySelector("#switches").replaceChildren(...switches(words));

/** Who is refused may have a key that is not. */
async function rekey() {
  await unlock();
  if (await show()) document.querySelector("#panel").focus();
}

/** The form for a key may stand there while somebody changes the language. */
function label() {
  for (const each of document.querySelectorAll("#key [data-word]")) each.textContent = words(each.dataset.word);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("relight")));
addEventListener("pagehide", write);
// A file that is dropped where none is taken would replace the page.
for (const each of ["dragover", "drop"]) addEventListener(each, (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
addEventListener("hashchange", () => {
  // Another panel goes on with the picture; a link with another one has its own.
  const [now, before] = [location.hash.split("?")[1], queries.get("picture")].map((each) => new URLSearchParams(each));
  if (PICTURED.has(linked().name) && ["sample", "ink"].some((key) => now.get(key) !== before.get(key))) memory = { ...memory, file: undefined, strokes: undefined };
  show();
});
show();
