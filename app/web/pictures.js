// Where pictures come from: dropped, pasted, a sample, a link, the panel before. Knows no models.

import { file } from "./api.js";
import { element } from "./dom.js";
import { read } from "./drawing_board.js";

const SAMPLES = {
  digits: ["seven.png", "two.png", "three-on-paper.jpg"],
  clothing: ["ankle-boot.png", "trouser.png"],
};
const ALL = Object.values(SAMPLES).flat();

/** Names of samples: of a subject, or all. */
export function samplesOf(subject) {
  return SAMPLES[subject] ?? ALL;
}

/** A sample as if somebody had chosen the file. Throws Gone, or AbortError. */
export const sample = (name, signal) => file(`samples/${name}`, name, signal);

/** What a file has now: it may change where it lies, or go. Undefined if it cannot be read, as a folder. */
export async function copied(given) {
  const content = await given.arrayBuffer().catch(() => undefined);
  return content && new File([content], given.name || "picture.png", { type: given.type });
}

/** Samples to click on; `chosen(name)` is called. */
export function samplesView(words, chosen) {
  const root = element("div", { class: "samples", role: "group", "aria-label": words("samples.title") });
  const button = (name) =>
    element(
      "button",
      { type: "button", class: "sample", "aria-label": words(`sample.${name}`), onclick: () => chosen(name) },
      element("img", { src: `page/samples/${name}`, alt: "", width: "44", height: "44" }),
    );
  const offer = (names) =>
    root.replaceChildren(element("span", { class: "hint" }, words("samples.title")), ...names.map(button));
  return { root, offer };
}

/** The picture of the panel before, or of the link: `{file}`, `{name}` of a sample, `{strokes}`, or nothing. */
export function kept(state, memory) {
  if (memory.file) return { file: memory.file };
  if (memory.strokes?.length) return { strokes: memory.strokes };
  if (samplesOf().includes(state.sample)) return { name: state.sample };
  const strokes = read(state.ink ?? "");
  return strokes.length ? { strokes } : {};
}

/** Calls `taken` with each file that is dropped or pasted anywhere, until `signal` is aborted. `over` is told whether
 * one is being dragged. */
export function takePictures(taken, over, signal) {
  let depth = 0; // of elements that were entered and not left: leaving one may be entering another
  const on = (name, listener) => addEventListener(name, listener, { signal });
  const drag = (listener) => (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    listener(event);
  };
  on("dragenter", drag(() => over(++depth > 0)));
  on("dragleave", drag(() => over(--depth > 0)));
  on("drop", drag((event) => {
    over((depth = 0) > 0);
    const [file] = event.dataTransfer.files;
    if (file) taken(file);
  }));
  on("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (!file) return;
    event.preventDefault();
    taken(file);
  });
}
