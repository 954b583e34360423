// The very calls behind an answer, to be copied. Knows no panels.

import { asCurl, asPython } from "./api.js";
import { element, segments } from "./dom.js";

const LANGUAGES = { curl: asCurl, Python: asPython };

/** A fold with the calls of `show`, written down when it is opened: what nobody looks at costs nothing. */
export function callView(words) {
  let calls = [];
  let language = "curl";
  const code = element("code");
  const text = element("pre", { tabindex: "0", "aria-label": words("call.title") }, code);
  const copy = element("button", { type: "button", class: "quiet", onclick: () => copied() }, words("call.copy"));
  const fold = element(
    "details",
    { class: "call", ontoggle: () => write() },
    element("summary", {}, words("call.title")),
    element("div", { class: "row" }, segments(Object.keys(LANGUAGES), language, choose), copy),
    text,
  );

  function choose(name) {
    language = name;
    write();
  }

  async function write() {
    if (!fold.open) return;
    const shown = calls;
    const written = await Promise.all(shown.map(LANGUAGES[language]));
    if (shown === calls) code.textContent = written.join("\n\n");
  }

  async function copied() {
    getSelection().selectAllChildren(code);
    // Without https, and away from this machine, a page may not write to the clipboard: then it is marked at least.
    const done = await navigator.clipboard?.writeText(code.textContent).then(() => true, () => false);
    copy.textContent = words(done ? "call.copied" : "call.marked");
    setTimeout(() => (copy.textContent = words("call.copy")), 2_000);
  }

  return {
    root: fold,
    show(...asked) {
      calls = asked;
      write();
    },
  };
}
