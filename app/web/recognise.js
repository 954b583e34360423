// The panel "Recognise": a picture is drawn or brought, one model or two say what it is. Knows no routing.

import { Gone, Problem, ask, back, get } from "./api.js";
import { answerView } from "./answer.js";
import { BRUSHES, DrawingBoard, pictureOf, written } from "./drawing_board.js";
import { element, icon } from "./dom.js";
import { USUAL, grouped, initial, targetsOf } from "./models.js";
import { kept, sample, samplesOf, samplesView, takePictures } from "./pictures.js";

// A link may be so long wherever it is sent; a drawing beyond that stays out of it.
const LONGEST_LINK = 6_000;

/**
 * `page` is `{words, state, remember(state), memory}`: what the link says, how to write it down, and what survives a
 * change of language. Returns `{root, title, close()}`.
 */
export function recognise({ words, state, remember, memory }) {
  const leaving = new AbortController();
  const { signal } = leaving;
  const said = element("p", { class: "unseen", role: "status" });
  const title = element("h1", {}, words("recognise.title.digits"));
  const gone = element("p", { class: "gone", role: "alert", hidden: true });
  const answers = element("div", { class: "answers" });
  const samples = samplesView(words, sampled);
  const choice = modelChoice(words, chosen);
  const sheet = sheetView(words, taken);
  const board = new DrawingBoard(sheet.canvas, (done) => drawn(done));
  const tools = toolsView(words, board, { clear: () => clear(), taken });
  const root = element(
    "div",
    { class: "recognise" },
    element("div", { class: "top" }, title, choice.root),
    gone,
    element("div", { class: "work" }, element("div", { class: "input" }, sheet.root, tools.root, samples.root), answers),
    said,
  );
  let views = [];
  let source = {}; // {strokes}, {sample} or {file}
  let picture; // {blob, name}: what was asked last

  takePictures(taken, (over) => sheet.root.classList.toggle("over", over), signal);
  addEventListener("keydown", keyed, { signal });
  addEventListener("relight", () => board.paint(), { signal });
  begin();

  async function begin() {
    try {
      choice.offer((await ask(get("models"), signal)).document, state);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Gone) {
        await away();
        return begin();
      }
      if (!(error instanceof Problem)) throw error;
      return tell(error.message);
    }
    if (!choice.targets().length) return tell(words("models.nothing"));
    chosen();
    await restore();
  }

  function tell(text) {
    gone.textContent = text;
    gone.hidden = false;
  }

  async function restore() {
    const { file, name, strokes } = kept(state, memory);
    if (file) taken(file);
    else if (name) await sampled(name);
    else if (strokes) {
      board.strokes = strokes;
      board.drawn(true);
    }
  }

  /** The models were chosen, or have just come. */
  function chosen() {
    const targets = choice.targets();
    const subject = choice.subject();
    title.textContent = words(`recognise.title.${subject}`);
    sheet.invite(words(`board.empty.${subject}`));
    for (const view of views) view.close();
    views = targets.map((target) => answerView(words, target, { gone: away, said: (text) => (said.textContent = text) }));
    answers.replaceChildren(...views.map((view) => view.root));
    answers.classList.toggle("two", views.length > 1);
    samples.offer(samplesOf(subject));
    if (picture) askAll(true);
    write();
  }

  async function drawn(done) {
    tools.drawn(board.strokes.length > 0 || Boolean(source.file || source.sample));
    sheet.drawn(board.strokes.length > 0, words("board.drawn", { strokes: board.strokes.length }));
    if (!board.strokes.length) return empty();
    source = { strokes: board.strokes };
    Object.assign(memory, { file: undefined, strokes: board.strokes });
    if (done) write();
    const blob = await pictureOf(board.strokes);
    if (source.strokes !== board.strokes) return;
    picture = { blob, name: "drawing.png" };
    askAll(done);
  }

  async function sampled(name) {
    try {
      taken(await sample(name, signal), name);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Gone)) throw error;
      away();
    }
  }

  /** A file that somebody brought, or a sample. */
  function taken(file, sample) {
    const name = typeof sample === "string" ? sample : undefined;
    board.strokes = [];
    board.paint();
    source = name ? { sample: name } : { file };
    Object.assign(memory, { file: name ? undefined : file, strokes: undefined });
    sheet.show(file, words("board.picture", { name: file.name }));
    tools.drawn(true);
    picture = { blob: file, name: file.name || "picture.png" };
    askAll(true);
    write();
  }

  function clear() {
    sheet.show(undefined);
    board.clear();
  }

  function empty() {
    picture = undefined;
    source = {};
    Object.assign(memory, { file: undefined, strokes: undefined });
    for (const view of views) view.clear();
    said.textContent = "";
    write();
  }

  function askAll(final) {
    for (const view of views) view.ask(picture, final);
  }

  function write() {
    const [model, other] = choice.targets();
    const ink = source.strokes ? written(source.strokes) : "";
    remember({
      model: model?.name === USUAL ? undefined : model?.name,
      with: other?.name,
      sample: source.sample,
      ink: ink.length <= LONGEST_LINK ? ink || undefined : undefined,
    });
  }

  /** Nobody answers: what there is stays, and is asked again when somebody does. */
  async function away() {
    if (!gone.hidden) return;
    tell(`${words("gone.title")} ${words("gone.detail")}`);
    root.classList.add("alone");
    await back(signal);
    if (signal.aborted) return;
    gone.hidden = true;
    root.classList.remove("alone");
    if (picture) askAll(true);
  }

  function keyed(event) {
    if (event.target.closest?.("input:not([type=range]), select, textarea")) return;
    if (event.key === "Escape") clear();
    else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey) {
      event.preventDefault();
      board.undo();
    }
  }

  return {
    root,
    close() {
      leaving.abort();
      board.close();
      for (const view of views) view.close();
    },
  };
}

/** Where pictures lie: the canvas, and in its place what was brought. */
function sheetView(words) {
  const canvas = element("canvas", { role: "img", "aria-label": words("board.blank") });
  const invitation = element("p", { class: "invitation", "aria-hidden": "true" });
  const shown = element("img", { class: "brought", alt: "", hidden: true, onerror: () => broken() });
  const name = element("p", { class: "filename", hidden: true });
  const root = element("div", { class: "sheet" }, canvas, invitation, shown, name);
  let address;

  // Browsers do not show all that the service reads: HEIC, TIFF.
  function broken() {
    shown.hidden = true;
    name.hidden = false;
  }

  function show(file, described = "") {
    if (address) URL.revokeObjectURL(address);
    address = file && URL.createObjectURL(file);
    shown.hidden = !file;
    name.hidden = true;
    invitation.hidden = Boolean(file);
    canvas.hidden = Boolean(file);
    if (!file) return;
    shown.src = address;
    shown.alt = described;
    name.textContent = file.name;
  }

  return {
    root,
    canvas,
    show,
    invite: (text) => invitation.replaceChildren(text, element("small", {}, words("board.drop"))),
    drawn(any, described) {
      if (any && canvas.hidden) show(undefined);
      invitation.hidden = any;
      canvas.setAttribute("aria-label", any ? described : words("board.blank"));
    },
  };
}

function toolsView(words, board, { clear, taken }) {
  const button = (word, path, onclick) =>
    element("button", { type: "button", disabled: true, onclick }, icon(path), element("span", { class: "text" }, words(word)));
  const undo = button("board.undo", "M8 5 4 9l4 4M4 9h10a5 5 0 0 1 0 10h-4", () => board.undo());
  const wipe = button("board.clear", "M6 6l12 12M18 6 6 18", clear);
  const brush = element("input", {
    type: "range",
    min: BRUSHES.least,
    max: BRUSHES.most,
    value: board.brush,
    oninput: () => (board.brush = Number(brush.value)),
  });
  const chosen = ({ target }) => {
    if (target.files[0]) taken(target.files[0]);
    target.value = "";
  };
  const file = (word, path, attributes) =>
    element(
      "label",
      { class: `button ${attributes.capture ? "photograph" : ""}` },
      icon(path),
      element("span", { class: "text" }, words(word)),
      element("input", { type: "file", accept: "image/*", class: "unseen", onchange: chosen, ...attributes }),
    );
  const root = element(
    "div",
    { class: "tools" },
    element("div", { class: "row" }, undo, wipe, element("label", { class: "brush" }, element("span", { class: "text" }, words("board.brush")), brush)),
    element(
      "div",
      { class: "row" },
      file("picture.choose", "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4", {}),
      file("picture.photograph", "M4 8h4l2-3h4l2 3h4v11H4zM12 10a3.500 3.500 0 1 0 .01 0", { capture: "environment" }),
    ),
  );
  return {
    root,
    drawn(any) {
      undo.disabled = !board.strokes.length;
      wipe.disabled = !any;
    },
  };
}

/** Which model answers, and which beside it. */
function modelChoice(words, chosen) {
  const choose = () => chosen();
  const first = element("select", { id: "first", disabled: true, onchange: choose }, element("option", {}, words("models.loading")));
  const second = element("select", { id: "second", disabled: true, onchange: choose }, element("option", {}, words("models.alone")));
  const root = element(
    "div",
    { class: "choice" },
    element("div", {}, element("label", { for: "first" }, words("models.first")), first),
    element("div", {}, element("label", { for: "second" }, words("models.second")), second),
  );
  let offered = new Map(); // name → {name, labels, subject}

  function offer(catalogue, state) {
    offered = targetsOf(catalogue);
    first.replaceChildren(...grouped(offered, words));
    second.replaceChildren(element("option", { value: "" }, words("models.alone")), ...grouped(offered, words));
    first.value = initial(offered, state.model);
    second.value = offered.has(state.with) ? state.with : "";
    first.disabled = second.disabled = !offered.size;
  }

  return {
    root,
    offer,
    targets: () => [first.value, second.value].map((name) => offered.get(name)).filter(Boolean),
    subject: () => offered.get(first.value)?.subject ?? USUAL,
  };
}
