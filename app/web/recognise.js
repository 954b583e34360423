// The panel "Recognise": a picture is drawn or brought, one model or two say what it is. Knows no routing.

import { Problem, ask, back, get, passing } from "./api.js";
import { answerView } from "./answer.js";
import { BRUSHES, DrawingBoard, pictureOf, written } from "./drawing_board.js";
import { element, icon, waitingLine } from "./dom.js";
import { USUAL, grouped, initial, targetsOf } from "./models.js";
import { copied, kept, sample, samplesOf, samplesView, takePictures } from "./pictures.js";

/**
 * `page` is `{words, state, remember(state), memory}`: what the link says, how to write it down, and what survives a
 * change of language. Returns `{root, close()}`.
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
  const sheet = sheetView(words, drawnOver);
  const board = new DrawingBoard(sheet.canvas, (done) => drawn(done));
  board.brush = memory.brush ?? board.brush;
  const tools = toolsView(words, board, { undo, clear, taken, brushed: (brush) => (memory.brush = brush) });
  const loading = waitingLine(words("models.waiting"));
  const root = element(
    "div",
    { class: "recognise" },
    element("div", { class: "top" }, title, choice.root),
    gone,
    element("div", { class: "work" }, element("div", { class: "input" }, sheet.root, tools.root, samples.root), answers),
    said,
  );
  let views = [];
  let source = {}; // {strokes} or {file}, and the name of a sample
  let before = {}; // what was cleared away: it can be had back
  let picture; // {blob, name}: what was asked last
  let bringing = new AbortController(); // of what is on its way: what comes later wins
  let [turn, come] = [0, 0]; // of what was drawn: asked for, and made
  let returning; // while nobody answers: resolves when somebody does

  takePictures(taken, (over) => sheet.root.classList.toggle("over", over), signal);
  addEventListener("keydown", keyed, { signal });
  addEventListener("relight", () => board.paint(), { signal });
  answers.append(loading.root);
  loading.begin();
  begin();

  async function begin() {
    try {
      choice.offer((await ask(get("models"), signal)).document, state);
    } catch (error) {
      if (signal.aborted) return;
      if (passing(error)) {
        await away(error);
        return begin();
      }
      if (!(error instanceof Problem)) throw error;
      return tell(`${words.problem(error)}. ${error.message}`);
    } finally {
      loading.end();
    }
    if (!choice.targets().length) return tell(words("models.nothing"));
    arrange();
    await restore();
    if (!signal.aborted) write();
  }

  function tell(text) {
    gone.textContent = text;
    gone.hidden = false;
  }

  async function restore() {
    if (picture) return; // somebody was quicker
    const { file, name, strokes } = kept(state, memory);
    if (file) show(file);
    else if (name) await sampled(name);
    else if (strokes) redraw(strokes);
  }

  function redraw(strokes) {
    board.put(strokes);
    board.drawn(true);
  }

  function chosen() {
    arrange();
    write();
  }

  /** What belongs to the chosen models. */
  function arrange() {
    const targets = choice.targets();
    const subject = choice.subject();
    title.textContent = words(`recognise.title.${subject}`);
    sheet.invite(words(`board.empty.${subject}`));
    const former = new Set(views);
    views = targets.map((target) => {
      const stays = [...former].find((view) => view.name === target.name);
      former.delete(stays);
      return stays ?? answerView(words, target, { gone: away, said: speak });
    });
    for (const view of former) view.close();
    answers.replaceChildren(...views.map((view) => view.root));
    answers.classList.toggle("two", views.length > 1);
    samples.offer(samplesOf(subject));
    // What has answered this very picture already goes on standing there.
    if (picture) for (const view of views) if (!view.asked(picture)) view.ask(picture, true);
  }

  /** When all have answered: who listens hears each of two by its name. */
  function speak() {
    const texts = views.map(({ name, spoken }) => (views.length > 1 ? `${name}: ${spoken()}` : spoken()));
    if (views.every((view) => view.spoken())) said.textContent = texts.join(" ");
  }

  /** Ends what is on its way. The signal of what comes now. */
  function instead() {
    bringing.abort();
    bringing = new AbortController();
    return AbortSignal.any([signal, bringing.signal]);
  }

  async function drawn(done) {
    instead();
    sheet.drawn(board.strokes.length > 0, words("board.drawn", { strokes: board.strokes.length }));
    if (!board.strokes.length) return empty();
    source = { strokes: board.strokes };
    tools.can(true, true);
    Object.assign(memory, { file: undefined, strokes: board.strokes });
    if (done) write();
    const mine = ++turn;
    const blob = await pictureOf(board.strokes);
    // They may be made in another order than they were wanted in.
    if (source.strokes !== board.strokes || mine < come) return;
    come = mine;
    picture = { blob, name: "drawing.png" };
    askAll(done);
  }

  async function sampled(name, given = instead()) {
    try {
      const file = await sample(name, given);
      if (!given.aborted) show(file, name);
    } catch (error) {
      if (given.aborted) return;
      if (!passing(error)) throw error;
      await away(error);
      if (!given.aborted) await sampled(name, given);
    }
  }

  /** What somebody brought. */
  async function taken(file) {
    const given = instead();
    const copy = await copied(file);
    if (given.aborted) return;
    if (copy) return show(copy);
    clear();
    for (const view of views) view.refuse(words("picture.unreadable"), words("picture.unreadable.detail", { name: file.name }));
  }

  /** A file, or the sample of that name. */
  function show(file, sample) {
    if (source.strokes) before = source;
    board.put([]);
    source = { file, sample };
    Object.assign(memory, { file: sample ? undefined : file, strokes: undefined });
    sheet.show(file, words("board.picture", { name: file.name }));
    tools.can(Boolean(before.strokes || before.file), true);
    picture = { blob: file, name: file.name };
    askAll(true);
    write();
  }

  /** Pressed where a picture lies: it makes place for a stroke. */
  function drawnOver(event) {
    if (event.button !== 0) return;
    before = source;
    sheet.show(undefined);
    board.begin(event);
  }

  function clear() {
    if (source.strokes || source.file) before = source;
    sheet.show(undefined);
    board.put([]);
    board.drawn(true);
  }

  /** The last stroke, or where there is none, what was cleared away. */
  function undo() {
    if (board.undo()) return;
    const { strokes, file, sample } = before;
    before = {};
    if (strokes) redraw(strokes);
    else if (file) {
      instead();
      show(file, sample);
    }
  }

  function empty() {
    tools.can(Boolean(before.strokes || before.file), false);
    picture = undefined;
    source = {};
    Object.assign(memory, { file: undefined, strokes: undefined });
    for (const view of views) view.clear();
    said.textContent = "";
    write();
  }

  function askAll(final) {
    for (const view of views) view.hush();
    for (const view of views) view.ask(picture, final);
  }

  function write() {
    const [model, other] = choice.targets();
    remember({
      model: model?.name === USUAL ? undefined : model?.name,
      with: other?.name,
      sample: source.sample,
      ink: written(source.strokes),
    });
  }

  /** Nobody answers, or not now: what there is stays, and is asked again when somebody does. */
  function away(error) {
    returning ??= comeBack(error).finally(() => (returning = undefined));
    return returning;
  }

  async function comeBack(error) {
    tell(`${error.status ? `${words.problem(error)}.` : words("gone.title")} ${words("gone.detail")}`);
    root.classList.add("alone");
    await back(signal);
    if (signal.aborted) return;
    gone.hidden = true;
    root.classList.remove("alone");
    if (picture) askAll(true);
  }

  function keyed(event) {
    if (event.target.closest?.("input:not([type=range]), select, textarea")) return;
    // Whoever is in the midst of something else means that by Escape.
    if (event.key === "Escape") event.target.closest?.("details, button, a") || clear();
    else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey) {
      event.preventDefault();
      undo();
    }
  }

  return {
    root,
    close() {
      leaving.abort();
      loading.end();
      sheet.close();
      board.close();
      for (const view of views) view.close();
    },
  };
}

/** Where pictures lie: the canvas, and in its place what was brought. */
function sheetView(words, drawnOver) {
  const canvas = element("canvas", { role: "img", "aria-label": words("board.blank") });
  const invitation = element("p", { class: "invitation", "aria-hidden": "true" });
  const shown = element("img", { class: "brought", alt: "", hidden: true, draggable: "false", onerror: () => broken() });
  const name = element("p", { class: "filename", hidden: true });
  const pressed = (event) => canvas.hidden && drawnOver(event);
  const root = element("div", { class: "sheet", onpointerdown: pressed }, canvas, invitation, shown, name);
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
    close: () => show(undefined),
    invite: (text) => invitation.replaceChildren(text, element("small", {}, words("board.drop"))),
    drawn(any, described) {
      if (any && canvas.hidden) show(undefined);
      invitation.hidden = any;
      canvas.setAttribute("aria-label", any ? described : words("board.blank"));
    },
  };
}

function toolsView(words, board, { undo, clear, taken, brushed }) {
  // Disabled in name alone: a button that was just pressed keeps the focus.
  const off = (button) => button.getAttribute("aria-disabled") === "true";
  const button = (word, path, act) => {
    const onclick = () => off(made) || act();
    const text = element("span", { class: "text" }, words(word));
    const made = element("button", { type: "button", "aria-disabled": "true", onclick }, icon(path), text);
    return made;
  };
  const back = button("board.undo", "M8 5 4 9l4 4M4 9h10a5 5 0 0 1 0 10h-4", undo);
  const wipe = button("board.clear", "M6 6l12 12M18 6 6 18", clear);
  const brush = element("input", {
    type: "range",
    min: BRUSHES.least,
    max: BRUSHES.most,
    value: board.brush,
    oninput: () => brushed((board.brush = Number(brush.value))),
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
    element("div", { class: "row" }, back, wipe, element("label", { class: "brush" }, element("span", { class: "text" }, words("board.brush")), brush)),
    element(
      "div",
      { class: "row" },
      file("picture.choose", "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4", {}),
      file("picture.photograph", "M4 8h4l2-3h4l2 3h4v11H4zM12 10a3.5 3.5 0 1 0 .01 0", { capture: "environment" }),
    ),
  );
  return {
    root,
    /** Whether there is something to take back, and to clear. */
    can(undone, cleared) {
      back.setAttribute("aria-disabled", String(!undone));
      wipe.setAttribute("aria-disabled", String(!cleared));
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
