// The panel "Inside": what each layer of a model makes of a picture, what it has learned, where it errs. Knows no
// drawing board.

import { Problem, ask, get, load, pictureAt, post } from "./api.js";
import { element } from "./dom.js";
import { pictureOf, written } from "./drawing_board.js";
import { USUAL, grouped, initial, targetsOf } from "./models.js";
import { desk, patience } from "./patience.js";
import { kept, sample, samplesOf, samplesView } from "./pictures.js";

// What only makes a picture fit, or numbers stand otherwise: of no interest at first.
const PLAIN = new Set(["Cast", "Div", "Sub", "Mul", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Identity"]);
const QUERY = "pictures=true&gradients=false&occlusion=false";

/** `page` as of recognise.js. */
export function inside({ words, state, remember, memory }) {
  const leaving = new AbortController();
  const root = element("div", { class: "inside" });
  const { line, refusal, foot, call, work, stop } = desk(words, { place: root, pause: 0 });
  const title = element("h1", {}, words("panel.inside"));
  const choice = element("select", { id: "first", disabled: true, onchange: () => look() }, element("option", {}, words("models.loading")));
  const samples = samplesView(words, (name) => sampled(name));
  const seen = element("img", { alt: words("seen.alt"), width: "28", height: "28", hidden: true });
  const answer = element("p", { class: "sure" });
  const total = element("p", { class: "hint" });
  const maps = patience(words); // of each that is open
  const layers = layersView(words, mapped, (count) => counted(count));
  const figures = element("div", { class: "figures" });
  const elsewhere = element("a", {}, words("inside.draw"));
  root.append(
    element(
      "div",
      { class: "top" },
      title,
      element("div", { class: "choice" }, element("div", {}, element("label", { for: "first" }, words("models.first")), choice)),
    ),
    line,
    maps.root,
    element(
      "div",
      { class: "subject" },
      element("figure", { class: "frame" }, seen),
      element("div", {}, answer, total, elsewhere, samples.root),
    ),
    foot,
    refusal,
  );
  // They come when there is something in them.
  const sections = [
    element("section", {}, element("h2", {}, words("inside.layers")), layers.root, call.root),
    element("section", {}, element("h2", {}, words("inside.figures")), figures),
  ];
  let targets = new Map();
  let source = kept(state, memory);
  let looking = new AbortController(); // at what is shown, or on its way
  let parameters = 0;
  let offered;
  let query; // of the link
  let latest; // what was looked at: the model, the picture, and what each layer is computed from
  begin();

  function begin() {
    work(async (signal) => {
      targets = targetsOf((await ask(get("models"), signal)).document);
      const { subject } = targets.get(state.model) ?? {};
      for (const { name, input } of targets.values()) if (input !== "image") targets.delete(name);
      if (!targets.size) throw new Problem({ title: words("models.nothing"), detail: " " });
      choice.replaceChildren(...grouped(targets, words));
      choice.value = initial(targets, state.model, subject);
      choice.disabled = false;
      look();
    });
  }

  function sampled(name) {
    Object.assign(memory, { file: undefined, strokes: undefined });
    source = { name };
    look();
  }

  /** At the picture, with the model that is chosen; what is under way is given up. */
  async function look() {
    looking.abort();
    const { signal } = (looking = new AbortController());
    const target = targets.get(choice.value);
    const names = samplesOf(target.subject);
    if (names !== offered) samples.offer((offered = names)); // who has just taken one keeps the focus
    if (!source.file && !source.strokes && !source.name) source = { name: names[0] };
    write(target);
    root.setAttribute("aria-busy", "true");
    await work((given) => looked(target, given), true);
    if (!signal.aborted) root.removeAttribute("aria-busy");
  }

  async function looked(target, signal) {
    const { blob, name } = await picture(signal);
    const calls = [post(`explain/${encodeURIComponent(target.name)}?${QUERY}`, blob, name), get(`models/${encodeURIComponent(target.name)}`)];
    const [told, page] = await Promise.all(calls.map((each) => ask(each, signal)));
    if (signal.aborted) return undefined;
    const inputs = new Map((page.document.graph?.layers ?? []).map((layer) => [layer.name, layer.inputs[0]]));
    latest = { model: told.document.model, body: blob, name, inputs, calls };
    show(told.document, page.document);
    return calls;
  }

  async function picture(given) {
    if (source.strokes) return { blob: await pictureOf(source.strokes), name: "drawing.png" };
    const blob = source.file ?? (await sample(source.name, given));
    return { blob, name: blob.name };
  }

  function show({ input, prediction, layers: given }, { name, card, graph, figures: addresses }) {
    title.textContent = words("inside.title", { model: name });
    seen.src = input;
    seen.hidden = false;
    answer.textContent = words("inside.answer", { label: words.label(prediction.label) });
    const learned = new Map((graph?.layers ?? []).map((layer) => [layer.name, layer.parameters]));
    parameters = card.parameters;
    layers.show(given, learned);
    figures.replaceChildren(...addresses.map(figure));
    root.append(sections[0], ...(addresses.length ? [sections[1]] : []));
    if (!addresses.length) sections[1].remove();
  }

  function counted(count) {
    total.textContent = words("inside.total", { layers: count, parameters: parameters.toLocaleString(document.documentElement.lang) });
  }

  /** One map of a layer, in the place that is given for it, unless it is closed before. */
  async function mapped(layer, place, closed) {
    const given = AbortSignal.any([looking.signal, closed]);
    const { model, body, name, inputs, calls: before } = latest;
    const linked = (name) => `#inside?${new URLSearchParams({ ...Object.fromEntries(new URLSearchParams(query)), model: name })}`;
    closed.addEventListener("abort", maps.hide);
    const told = (problem) => place({ root: element("p", { role: "status" }, problem.message), choose() {} });
    await maps.until(
      async () => {
        const { mapView } = await load("map.js");
        const calls = [...before];
        const asked = async (call) => (calls.push(call), (await ask(call, given)).document);
        const numbers = async (each) =>
          (await asked(post(`explain/${encodeURIComponent(model)}?layer=${encodeURIComponent(each)}&gradients=false&occlusion=false`, body, name))).layers[0].numbers;
        const view = await mapView(words, { model, layer, input: inputs.get(layer.name), asked, numbers, linked });
        if (given.aborted) return;
        place(view);
        call.show(...calls);
      },
      given,
      told,
    );
  }

  function figure(address) {
    const name = address.split("/").at(-1).split("?")[0];
    const said = words.figure(name);
    const { pathname, search } = new URL(address);
    const picture = element("img", { alt: said, loading: "lazy" });
    const link = element("a", {}, picture);
    pictureAt(pathname + search, leaving.signal).then((found) => ([picture.src, link.href] = [found, found]), () => undefined);
    return element("figure", {}, element("figcaption", {}, said), link);
  }

  function write({ name }) {
    query = remember({ ...state, model: name === USUAL ? undefined : name, sample: source.name, ink: written(source.strokes) });
    elsewhere.href = `#recognise?${query}`;
  }

  function close() {
    leaving.abort();
    looking.abort();
    stop();
  }

  return { root, close };
}

/** A row for each layer: its maps small, its figures, and larger maps when one asks for them, to choose one of.
 * `mapped(layer, place, closed)` calls `place` with the view of one unless the signal `closed` is aborted; `counted` is
 * told how many rows there are. */
function layersView(words, mapped, counted) {
  const body = element("tbody");
  const every = element("input", { type: "checkbox", onchange: () => fill() });
  const heads = ["maps", "layer", "shape", "parameters", "range", "zeros"];
  const head = element("tr", {}, heads.map((name) => element("th", { scope: "col", class: name }, words(`inside.${name}`))));
  const table = element("table", {}, element("thead", {}, head), body);
  const root = element("div", { class: "layers" }, table, element("label", { class: "hint" }, every, words("inside.all")));
  let shown = []; // {plain, row, close()} of each layer
  let learned = new Map();

  /** What is open stays open. */
  function fill() {
    for (const { plain, row, close } of shown) {
      row.hidden = plain && !every.checked;
      if (row.hidden) close();
    }
    counted(shown.filter(({ row }) => !row.hidden).length);
  }

  function rows(layer) {
    const { name, operation, shape, min, max, zeros, picture } = layer;
    const large = element("tr", { class: "large", hidden: true }, element("td", { colspan: heads.length }));
    const thumb = picture
      ? element(
          "button",
          { type: "button", "aria-expanded": "false", "aria-label": words("inside.larger", { layer: name }), onclick: () => enlarge() },
          element("img", { src: picture, alt: "" }),
        )
      : "";
    let opened = new AbortController();
    function close() {
      opened.abort();
      large.hidden = true;
      if (thumb) thumb.setAttribute("aria-expanded", "false");
    }
    function enlarge() {
      if (!large.hidden) return close();
      opened = new AbortController();
      large.hidden = false;
      thumb.setAttribute("aria-expanded", "true");
      const several = shape?.length === 3 && shape[1] > 1;
      const sheet = element("img", { src: picture, alt: words("inside.maps.of", { layer: name }) });
      large.firstChild.replaceChildren(sheet);
      if (!several) return;
      let view;
      const place = (made) => large.firstChild.append((view = made).root);
      sheet.addEventListener("click", (event) => view?.choose(mapAt(event, shape)));
      mapped(layer, place, opened.signal);
    }
    const cells = {
      layer: [element("strong", {}, parted(operation)), element("span", { class: "hint" }, name)],
      shape: [shape?.join(" × ") ?? ""],
      parameters: [learned.get(name)?.toLocaleString(document.documentElement.lang).replace(/^0$/, "") ?? ""],
      range: [min === null ? "" : `${short(min)} … ${short(max)}`],
      zeros: [zeros ? `${Math.round(100 * zeros)}%` : ""],
    };
    const row = element(
      "tr",
      {},
      element("td", { class: "maps" }, thumb),
      Object.entries(cells).map(([kind, content]) => element(kind === "layer" ? "th" : "td", { class: kind, scope: kind === "layer" && "row" }, content)),
    );
    return { plain: PLAIN.has(operation), row, large, close };
  }

  return {
    root,
    show(layers, parameters) {
      for (const { close } of shown) close();
      learned = parameters;
      shown = layers.map(rows);
      body.replaceChildren(...shown.flatMap(({ row, large }) => [row, large]));
      fill();
    },
  };
}

/** Which map of [maps, height, width] lies where somebody points: they are in reading order, about as many maps beside
 * each other as below. */
function mapAt({ offsetX, offsetY, target }, [count, height, width]) {
  const columns = Math.ceil(Math.sqrt(count));
  const column = Math.floor((offsetX / target.clientWidth) * columns);
  const row = Math.floor((offsetY / target.clientHeight) * Math.ceil(count / columns));
  return Math.min(count - 1, row * columns + column);
}

/** A name as ONNX writes it, which may be broken where a new word begins. */
const parted = (name) => name.split(/(?<=[a-z])(?=[A-Z])/).flatMap((part, n) => (n ? [element("wbr"), part] : [part]));

const short = (number) => Number(number.toPrecision(3)).toString();
