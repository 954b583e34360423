// The panel "Inside": what each layer of a model makes of a picture, what it has learned, where it errs. Knows no
// drawing board.

import { Gone, Problem, ask, back, get, post } from "./api.js";
import { callView } from "./call.js";
import { element } from "./dom.js";
import { pictureOf, written } from "./drawing_board.js";
import { USUAL, grouped, initial, targetsOf } from "./models.js";
import { kept, sample, samplesOf, samplesView } from "./pictures.js";

// What only makes a picture fit, or numbers stand otherwise: of no interest at first.
const PLAIN = new Set(["Cast", "Div", "Sub", "Mul", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Identity"]);
const QUERY = "pictures=true&gradients=false&occlusion=false";

/** `page` as of recognise.js. */
export function inside({ words, state, remember, memory }) {
  const leaving = new AbortController();
  const { signal } = leaving;
  const title = element("h1", {}, words("panel.inside"));
  const choice = element("select", { id: "first", disabled: true, onchange: () => look() }, element("option", {}, words("models.loading")));
  const gone = element("p", { class: "gone", role: "alert", hidden: true });
  const samples = samplesView(words, (name) => sampled(name));
  const seen = element("img", { alt: words("seen.alt"), width: "28", height: "28", hidden: true });
  const answer = element("p", { class: "sure" });
  const layers = layersView(words, mapped);
  const figures = element("div", { class: "figures" });
  const total = element("p", { class: "hint" });
  const call = callView(words);
  const elsewhere = element("a", {}, words("inside.draw"));
  const root = element(
    "div",
    { class: "inside" },
    element(
      "div",
      { class: "top" },
      title,
      element("div", { class: "choice" }, element("div", {}, element("label", { for: "first" }, words("models.first")), choice)),
    ),
    gone,
    element(
      "div",
      { class: "subject" },
      element("figure", { class: "frame" }, seen),
      element("div", {}, answer, total, elsewhere, samples.root),
    ),
    element("section", {}, element("h2", {}, words("inside.layers")), layers.root, call.root),
    element("section", {}, element("h2", {}, words("inside.figures")), figures),
  );
  let targets = new Map();
  let source = kept(state, memory);
  let looking = new AbortController();
  let latest; // what was looked at: the model, the picture, and what each layer is computed from
  begin();

  async function begin() {
    await untilAnswered(async () => {
      targets = targetsOf((await ask(get("models"), signal)).document);
      for (const { name, input } of targets.values()) if (input !== "image") targets.delete(name);
      choice.replaceChildren(...grouped(targets, words));
      choice.value = initial(targets, state.model);
      choice.disabled = !targets.size;
    });
    if (signal.aborted || !gone.hidden) return;
    if (targets.size) return look();
    gone.textContent = words("models.nothing");
    gone.hidden = false;
  }

  function sampled(name) {
    Object.assign(memory, { file: undefined, strokes: undefined });
    source = { name };
    look();
  }

  /** At the picture, with the model that is chosen; what is under way is given up. */
  async function look() {
    looking.abort();
    looking = new AbortController();
    const given = AbortSignal.any([signal, looking.signal]);
    const target = targets.get(choice.value);
    const names = samplesOf(target.subject);
    samples.offer(names);
    if (!source.file && !source.strokes && !source.name) source = { name: names[0] };
    write(target);
    root.setAttribute("aria-busy", "true");
    await untilAnswered(async () => {
      const { blob, name } = await picture(given);
      const asked = post(`explain/${encodeURIComponent(target.name)}?${QUERY}`, blob, name);
      const [told, page] = await Promise.all([ask(asked, given), ask(get(`models/${encodeURIComponent(target.name)}`), given)]);
      const inputs = new Map(page.document.graph.layers.map((layer) => [layer.name, layer.inputs[0]]));
      latest = { model: told.document.model, body: blob, name, inputs };
      show(told.document, page.document);
      call.show(asked);
    }, given);
    if (!given.aborted) root.removeAttribute("aria-busy");
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
    total.textContent = words("inside.total", {
      layers: card.layers.length,
      parameters: card.parameters.toLocaleString(document.documentElement.lang),
    });
    layers.show(given, learned);
    figures.replaceChildren(...addresses.map(figure));
  }

  /** One map of a layer, in the place that is given for it. */
  async function mapped(layer, place, number) {
    const given = AbortSignal.any([signal, looking.signal]);
    const { model, body, name, inputs } = latest;
    const numbersOf = (each) =>
      post(`explain/${encodeURIComponent(model)}?layer=${encodeURIComponent(each)}&gradients=false&occlusion=false`, body, name);
    await untilAnswered(async () => {
      const { mapView } = await import("./map.js");
      const view = await mapView(words, { model, layer, input: inputs.get(layer.name), numbersOf, number }, given);
      place(view);
    }, given);
  }

  function figure(address) {
    const name = address.split("/").at(-1).split("?")[0];
    const said = words.figure(name);
    const { pathname, search } = new URL(address);
    return element(
      "figure",
      {},
      element("figcaption", {}, said),
      element("a", { href: pathname + search }, element("img", { src: pathname + search, alt: said, loading: "lazy" })),
    );
  }

  function write({ name }) {
    const ink = source.strokes ? written(source.strokes) : undefined;
    remember({ ...state, model: name === USUAL ? undefined : name, sample: source.name, ink });
    elsewhere.href = `#recognise?${location.hash.split("?")[1] ?? ""}`;
  }

  /** Does it, again and again while nobody answers. What is refused is told. */
  async function untilAnswered(work, given = signal) {
    while (!given.aborted) {
      try {
        await work();
        gone.hidden = true;
        return;
      } catch (error) {
        if (given.aborted) return;
        if (!(error instanceof Problem || error instanceof Gone)) throw error;
        const refused = error instanceof Problem;
        gone.replaceChildren(element("strong", {}, refused ? words.problem(error) : words("gone.title")), " ", refused ? error.message : words("gone.detail"));
        gone.hidden = false;
        if (refused) return;
        await back(given);
      }
    }
  }

  return { root, close: () => leaving.abort() };
}

/** A row for each layer: its maps small, its figures, and larger maps when one asks for them, to choose one of.
 * `mapped(layer, place, number)` calls `place` with the view of one. */
function layersView(words, mapped) {
  const body = element("tbody");
  const every = element("input", { type: "checkbox", onchange: () => fill() });
  const heads = ["maps", "layer", "shape", "parameters", "range", "zeros"];
  const table = element(
    "table",
    {},
    element("thead", {}, element("tr", {}, heads.map((name) => element("th", { scope: "col", class: name }, words(`inside.${name}`))))),
    body,
  );
  const root = element("div", { class: "layers" }, table, element("label", { class: "hint" }, every, words("inside.all")));
  let shown = [];
  let learned = new Map();

  function fill() {
    const wanted = shown.filter(({ operation }) => every.checked || !PLAIN.has(operation));
    body.replaceChildren(...wanted.flatMap(rows));
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
    function enlarge() {
      large.hidden = !large.hidden;
      thumb.setAttribute("aria-expanded", String(!large.hidden));
      const several = shape?.length === 3 && shape[1] > 1;
      const sheet = element("img", { src: picture, alt: words("inside.maps.of", { layer: name }) });
      large.firstChild.replaceChildren(sheet);
      if (!several || large.hidden) return;
      let view;
      const place = (made) => large.firstChild.append((view = made).root);
      sheet.addEventListener("click", (event) => view?.choose(mapAt(event, shape)));
      mapped(layer, place, 0);
    }
    const cells = {
      layer: [element("strong", {}, operation), element("span", { class: "hint" }, name)],
      shape: [shape?.join(" × ") ?? ""],
      parameters: [learned.get(name)?.toLocaleString(document.documentElement.lang).replace(/^0$/, "") ?? ""],
      range: [min === null ? "" : `${short(min)} … ${short(max)}`],
      zeros: [zeros ? `${Math.round(100 * zeros)}%` : ""],
    };
    return [
      element(
        "tr",
        {},
        element("td", { class: "maps" }, thumb),
        Object.entries(cells).map(([kind, content]) => element(kind === "layer" ? "th" : "td", { class: kind, scope: kind === "layer" && "row" }, content)),
      ),
      large,
    ];
  }

  return {
    root,
    show(layers, parameters) {
      shown = layers;
      learned = parameters;
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

const short = (number) => Number(number.toPrecision(3)).toString();
