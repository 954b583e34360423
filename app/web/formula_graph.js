// The view "Formula": the graph of somebody's formula, and its gradients on their way back, step by step.

import { Latest, ask, postJson } from "./api.js";
import { field, stepper } from "./controls.js";
import { drawing, element } from "./dom.js";

const EXAMPLES = {
  "mean(3*(x+2)**2)": { x: "[[1, 1], [1, 1]]" },
  "sigmoid(w*x+b)": { w: "2", x: "-1", b: "0.5" },
  "max(x*y, 0)": { x: "2", y: "3" },
};
// Neither functions nor options nor exponents.
const NAMES = /(?<![\w.])(?!pi\b|True\b|False\b)[A-Za-z]\w*\b(?!\s*(\(|=(?!=)))/g;
const SIGNS = { add: "+", subtract: "−", multiply: "×", divide: "÷", negative: "−" };
const [TYPING_MS, LAYER_WIDTH, MOST_TOLD] = [250, 165, 60];

export function view({ words, state, keep, until, refusal, signal }) {
  const formula = element("input", { value: state.formula ?? Object.keys(EXAMPLES)[0], spellcheck: "false", autocapitalize: "off", oninput: typed });
  const fields = element("div", { class: "row" });
  const result = element("p", { class: "sure", role: "status" });
  const notes = element("div", { class: "hint" });
  const graph = element("figure", { class: "graph" });
  const rules = element("div", { class: "hint" });
  const steps = stepper(words, signal, draw);
  const texts = { ...EXAMPLES[formula.value] }; // of the inputs
  const latest = new Latest((call, given) => until((either) => answer(call, either), AbortSignal.any([given, signal])));
  let [timer, known] = [];
  signal.addEventListener("abort", () => (clearTimeout(timer), latest.stop()));
  addEventListener("resize", () => known && draw(known.step), { signal });
  for (const [key, text] of Object.entries(state)) if (key.startsWith("in_")) texts[key.slice(3)] = text;
  now();

  function take(example) {
    formula.value = example;
    Object.assign(texts, EXAMPLES[example]);
    fields.replaceChildren();
    state.step = undefined;
    now();
  }

  function typed() {
    clearTimeout(timer);
    state.step = undefined;
    timer = setTimeout(now, TYPING_MS);
  }

  /** A field for each name, one that is there stays; and the question. */
  function now() {
    const names = [...new Set(formula.value.match(NAMES))];
    const there = Object.fromEntries([...fields.children].map((each) => [each.textContent, each]));
    const made = (name) => {
      const changed = () => ((texts[name] = input.value), typed());
      const input = element("input", { value: (texts[name] ??= "1"), size: Math.max(5, texts[name].length), oninput: changed });
      return field(name, input);
    };
    fields.replaceChildren(...names.map((name) => there[name] ?? made(name)));
    const kept = Object.keys(texts).map((name) => [`in_${name}`, names.includes(name) ? texts[name] : undefined]);
    keep({ formula: formula.value, ...Object.fromEntries(kept) });
    const inputs = Object.fromEntries(names.map((name) => [name, value(texts[name])]));
    latest.ask(postJson("gradients/expression", { expression: formula.value, inputs }), true);
  }

  async function answer(call, given) {
    const { document } = await ask(call, given);
    if (given.aborted) return;
    const { graph, gradients, check } = document;
    // From these a gradient goes on.
    const back = graph.filter((each) => each.arguments.some(flows)).reverse();
    known = { ...document, back };
    result.textContent = `${document.expression} = ${json(document.value)}`;
    const lines = Object.entries(gradients).map(([name, each]) => `∂/∂${name} = ${json(each)}`);
    lines.push(words(`formula.${check.agrees}`, { error: check.largest_error?.toExponential(0) }), ...document.notes.map(({ message }) => message));
    notes.replaceChildren(...lines.map((line) => element("p", {}, line)));
    steps.reach(back.length, Number(state.step ?? back.length));
    return call;
  }

  function draw(step) {
    const { graph: nodes, back } = known;
    const now = back[step - 1];
    const rule = ({ step: to, local, local_is: kind, downstream }) => `${nodes[to].text}: ${json(now.upstream)} ${SIGN[kind]} ${json(local)} = ${json(downstream)}`;
    known.step = step;
    keep({ step: step === back.length ? undefined : step });
    paint(graph, known, now);
    const lines = [words(now ? "formula.back" : "formula.forwards", { text: now?.text }), ...(now?.arguments.filter(flows).map(rule) ?? [])];
    rules.replaceChildren(...lines.map((line) => element("p", {}, line)));
  }

  const examples = Object.keys(EXAMPLES).map((each) => element("button", { type: "button", onclick: () => take(each) }, each));
  return element(
    "div",
    { class: "view" },
    element("div", { class: "row" }, element("span", { class: "hint" }, words("samples.title")), examples),
    field(words("gradients.formula"), formula),
    fields,
    refusal,
    result,
    graph,
    steps.root,
    rules,
    notes,
  );
}

const SIGN = { elementwise: "×", jacobian: "·" };
const flows = ({ local_is: kind }) => kind in SIGN;

/** What JSON reads; anything else as it is, for the service to say what is wrong with it. */
function value(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const short = (_, each) => (typeof each === "number" ? Number(each.toPrecision(4)) : each);
const json = (value) => JSON.stringify(value, short).replaceAll(",", ", ");

/** In a node: rows below each other, or the shape. */
function told(value, shape) {
  const text = json(value);
  return value === null || text.length > MOST_TOLD ? shape.join(" × ") : text.replaceAll("], [", "],\n[");
}

/** On an edge: the number that all are. */
function brief(value) {
  const [first, ...more] = [value].flat(4);
  return first !== null && more.every((each) => each === first) ? json(first) : "[…]";
}

/** In layers by the distance from the leaves, these right before they are used; edges to later layers keep a place in each that they pass. */
function paint(figure, { graph, back, step }, now) {
  const done = new Set(back.slice(0, step));
  const depths = [];
  const [layers, boxes, edges] = [[], [], []];
  const put = (layer, box) => ((layers[layer] ??= element("div")).append(box), box);
  for (const { id, arguments: given } of graph) depths[id] = Math.max(-1, ...given.map((each) => depths[each.step])) + 1;
  for (const { id, leaf, used_by: users } of graph) if (leaf && users.length) depths[id] = Math.min(...users.map((each) => depths[each])) - 1;
  for (const each of graph) {
    const { id, leaf, text, operation, shape, value, upstream, requires_gradient: active, used_by: users, arguments: given } = each;
    const givers = users.map((user) => graph[user]).filter((user) => user.arguments.some((one) => one.step === id && flows(one)));
    const reached = active && step > 0 && givers.every((giver) => done.has(giver));
    const nabla = element("span", { class: "nabla" }, reached ? `∇ ${told(upstream, shape)}` : "");
    boxes[id] = put(depths[id], element("div", { class: each === now ? "node now" : "node" }, element("strong", {}, leaf ? text : SIGNS[operation] ?? operation), (active || !leaf) && told(value, shape), nabla));
    given.forEach((edge, n) => {
      const way = [boxes[edge.step]];
      for (let layer = depths[edge.step] + 1; layer < depths[id]; layer++) way.push(put(layer, element("i")));
      const rule = each === now && flows(edge) && `${brief(upstream)} ${SIGN[edge.local_is]} ${brief(edge.local)} = ${brief(edge.downstream)}`;
      edges.push({ way: [...way, boxes[id]], rule, n });
    });
  }
  const lines = drawing("svg", { "aria-hidden": "true" });
  figure.classList.toggle("down", layers.length * LAYER_WIDTH > figure.clientWidth);
  figure.replaceChildren(lines, ...layers);
  const middle = ({ offsetLeft: x, offsetTop: y, offsetWidth: w, offsetHeight: h }) => [x + w / 2, y + h / 2];
  for (const { way, rule, n } of edges) {
    const points = way.map(middle);
    const [[x, y], [right, low]] = points.slice(-2);
    lines.append(drawing("polyline", { points: points.join(" "), class: rule ? "now" : "" }));
    if (rule) lines.append(drawing("text", { x: (x + right) / 2, y: (y + low) / 2 + 16 * n }, rule));
  }
}
