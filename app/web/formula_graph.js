// The view "Formula": the graph of somebody's formula, and its gradients on their way back, step by step.

import { postJson } from "./api.js";
import { field, stepper } from "./controls.js";
import { drawing, element } from "./dom.js";
import { LONGEST_LINK } from "./drawing_board.js";

const EXAMPLES = { "mean(3*(x+2)**2)": "x=[[1, 1], [1, 1]]", "sigmoid(w*x+b)": "w=2;x=-1;b=0.5", "max(x*y, 0)": "x=2;y=3" };
// Neither functions nor options nor exponents.
const NAMES = /(?<![\w.])(?!pi\b|True\b|False\b)[A-Za-z]\w*\b(?!\s*(\(|=(?!=)))/g;
const SIGNS = { add: "+", subtract: "−", multiply: "×", divide: "÷", negative: "−" };
const PRODUCTS = { elementwise: "×", jacobian: "·" };
const [TYPING_MS, RULE_WIDTH, MOST_TOLD] = [250, 100, 60];

export function view({ words, state, keep, refusal, asked }) {
  const figure = element("figure", { class: "graph" });
  const steps = stepper({ words, state, keep }, draw);
  const formula = field(words("gradients.formula"), { spellcheck: "false", autocapitalize: "off" }, typed);
  const fields = element("div", { class: "row" });
  const result = element("p", { class: "sure" });
  const lines = element("div", { class: "hint", role: "status" });
  const examples = Object.keys(EXAMPLES).map((each) => element("button", { type: "button", onclick: () => (begin(), take(each, EXAMPLES[each])) }, each));
  let [timer, known, width] = [];
  // Edges end where the nodes stand, which a width decides.
  const resized = new ResizeObserver(() => {
    if (!figure.isConnected) resized.disconnect();
    else if (known && width !== figure.clientWidth) draw(steps.at());
  });
  resized.observe(figure);
  // When it stands on the page, and has a width.
  setTimeout(() => take(...(state.formula === undefined ? Object.entries(EXAMPLES)[0] : [state.formula, state.inputs])));

  function take(text, inputs = "") {
    formula.lastChild.value = text;
    fields.replaceChildren(...inputs.split(";").map((each) => input(...each.split("="))));
    now();
  }

  const input = (name, value = "1") => field(name, { value }, typed);

  function begin() {
    steps.pause();
    keep({ step: undefined });
  }

  /** Fields as `[name, text]`, which the link has, unless that is too long. */
  function written() {
    const inputs = [...fields.children].map((each) => [each.textContent, each.lastChild.value]);
    const changed = { formula: formula.lastChild.value, inputs: inputs.map((each) => each.join("=")).join(";") || undefined };
    keep(String(new URLSearchParams(changed)).length > LONGEST_LINK ? { formula: undefined, inputs: undefined } : changed);
    return inputs;
  }

  function typed() {
    begin();
    written();
    clearTimeout(timer);
    timer = setTimeout(now, TYPING_MS);
  }

  /** A field for each name, those that are there stay; and the question. */
  function now() {
    if (!fields.isConnected) return;
    const expression = formula.lastChild.value;
    const there = new Map([...fields.children].map((each) => [each.textContent, each]));
    const names = [...new Set(expression.match(NAMES))];
    // Who writes in one keeps the focus.
    if (names.join() !== [...there.keys()].join()) fields.replaceChildren(...names.map((name) => there.get(name) ?? input(name)));
    const inputs = Object.fromEntries(written().map(([name, text]) => [name, read(text)]));
    asked([postJson("gradients/expression", { expression, inputs })], show);
  }

  function show(told) {
    // From these a gradient goes on.
    known = { ...told, back: told.graph.filter((each) => each.arguments.some(flows)).reverse() };
    result.textContent = `${told.expression} = ${json(told.value)}`;
    steps.reach(known.back.length);
  }

  function draw(step) {
    const { graph, back, gradients, check, notes } = known;
    const now = back[step - 1];
    const rule = ({ step: to, local, local_is: kind, downstream }) => `${graph[to].text}: ${json(now.upstream)} ${PRODUCTS[kind]} ${json(local)} = ${json(downstream)}`;
    const told = [
      ...(now ? [words("formula.back", now), ...now.arguments.filter(flows).map(rule)] : []),
      ...(step < back.length ? [] : Object.entries(gradients).map(([name, each]) => `∂/∂${name} = ${json(each)}`)),
      words(`formula.${check.agrees}`, { error: check.largest_error?.toPrecision(1) }),
      ...notes.map(({ message }) => message),
    ];
    width = figure.clientWidth;
    paint(figure, graph, new Set(back.slice(0, step)), now);
    lines.replaceChildren(...told.map((line) => element("p", {}, line)));
  }

  return element("div", { class: "view" }, element("div", { class: "row" }, examples), formula, fields, refusal, result, figure, steps.root, lines);
}

const flows = ({ local_is: kind }) => kind in PRODUCTS;

/** What JSON reads; anything else as it is, for the service to say what is wrong with it. */
function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const json = (value) => JSON.stringify(value, (_, each) => (!each?.toPrecision || Number.isInteger(each) ? each : Number(each.toPrecision(4)))).replaceAll(",", ", ");

/** In a node: rows below each other, or the shape of what is too much. */
function told(value, shape) {
  const text = json(value);
  return value === null || text.length > MOST_TOLD ? shape.join(" × ") : text.replaceAll("], [", "],\n[");
}

/** On an edge: the one number that all are. */
function brief(value) {
  const [first, ...others] = new Set([value].flat(4));
  return others.length ? "[…]" : json(first);
}

/** In layers by the distance from the leaves, which stand right before they are used; an edge has a place in each that it passes. */
function paint(figure, graph, done, now) {
  const [depths, layers, boxes, edges] = [[], [], [], []];
  const put = (layer, box) => ((layers[layer] ??= element("div")).append(box), box);
  for (const { id, arguments: given } of graph) depths[id] = Math.max(-1, ...given.map((each) => depths[each.step])) + 1;
  for (const { id, leaf, used_by: users } of graph) if (leaf && users[0]) depths[id] = Math.min(...users.map((each) => depths[each])) - 1;
  for (const each of graph) {
    const { id, leaf, shape, upstream, requires_gradient: active, arguments: given } = each;
    const givers = each.used_by.map((user) => graph[user]).filter((user) => user.arguments.some((one) => one.step === id && flows(one)));
    const reached = done.size && givers.every((giver) => done.has(giver));
    const nabla = active && element("span", { class: "nabla" }, reached ? `∇ ${told(upstream, shape)}` : "");
    const title = element("strong", {}, leaf ? each.text : SIGNS[each.operation] ?? each.operation);
    boxes[id] = put(depths[id], element("div", { class: each === now ? "node now" : "node" }, title, (active || !leaf) && told(each.value, shape), nabla));
    for (const edge of given) {
      const between = layers.slice(depths[edge.step] + 1, depths[id]).map((layer) => layer.appendChild(element("i")));
      const rule = each === now && flows(edge) && `${brief(upstream)} ${PRODUCTS[edge.local_is]} ${brief(edge.local)} = ${brief(edge.downstream)}`;
      edges.push([rule, boxes[edge.step], ...between, boxes[id]]);
    }
  }
  const lines = drawing("svg", { "aria-hidden": "true" });
  figure.classList.remove("down");
  figure.replaceChildren(lines, ...layers);
  const width = layers.reduce((sum, { offsetWidth }) => sum + offsetWidth + RULE_WIDTH, -RULE_WIDTH);
  // Numbers stand in the middle of an edge; where edges come from above, below the node that they come from.
  const share = figure.classList.toggle("down", width > figure.clientWidth) ? 0.1 : 0.5;
  for (const [rule, ...way] of edges) {
    const points = way.map(({ offsetLeft: x, offsetTop: y, offsetWidth: w, offsetHeight: h }) => [x + w / 2, y + h / 2]);
    const [[x, y], [right, low]] = points.slice(-2);
    lines.append(drawing("polyline", { points, class: rule && "now" }), drawing("text", { x: x + share * (right - x), y: (y + low) / 2 - 5 }, rule));
  }
}
