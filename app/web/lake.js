// The panel "FrozenLake": what a Q-network expects of every way, and walks that follow it. Knows how the ice slips.

import { bar } from "./answer.js";
import { ask, postJson } from "./api.js";
import { element } from "./dom.js";
import { desk } from "./patience.js";

const TILES = "SFFFFHFHFFFHHFFG"; // row by row: start, ice, holes, goal
const SIGNS = { H: "●", G: "★" };
// Ways in gymnasium's order.
const ARROWS = "←↓→↑";
const KEYS = ["ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp"];
const MODELS = ["frozenlake-dqn", "frozenlake-slippery-dqn"];
const [MOST_STEPS, PACE_MS] = [100, 700];

/** Where a move ends; the edge holds. */
function moved(state, way) {
  const place = [state % 4, state >> 2];
  const axis = way % 2;
  place[axis] = Math.min(3, Math.max(0, place[axis] + [-1, 1, 1, -1][way]));
  return place[0] + 4 * place[1];
}

/** `{wanted, way, state}` of each step; `best` is the way from every state. On slippery ice a third goes to either side. */
export function walk(best, from, slippery, seed) {
  const steps = [];
  let drawn = Math.imul(seed, 0x9e3779b1);
  for (let state = from; !SIGNS[TILES[state]] && steps.length < MOST_STEPS; ) {
    drawn = Math.imul(drawn, 1_664_525) + 1_013_904_223;
    const slip = slippery ? Math.floor(((drawn >>> 0) / 2 ** 32) * 3) - 1 : 0;
    const wanted = best[state];
    const way = (wanted + slip + 4) % 4;
    state = moved(state, way);
    steps.push({ wanted, way, state });
  }
  return steps;
}

/** `page` as of recognise.js. */
export function lake({ words, state, remember }) {
  const number = (text, most) => (/^\d+$/.test(text) ? Math.min(most, text) : 0);
  const [from, seed, step] = [number(state.from, 15), number(state.seed, 9_999), number(state.step, MOST_STEPS)];
  const chosen = { slippery: Number(state.model === MODELS[1]), from, seed, step };
  const ways = words("lake.ways").split(" ");
  const { line, refusal, foot, call, work, stop: close } = desk(words);
  let [table, of, asked, playing] = []; // the predictions for all states, whether of slippery ice, and what is asked
  const button = (word, onclick) => element("button", { type: "button", onclick }, words(word));
  const models = MODELS.map((_, slippery) => button(`lake.${slippery}`, () => show({ slippery, step: 0 })));
  const place = element("input", { type: "range", max: 0, "aria-label": words("lake.step"), oninput: () => stop() || show({ step: Number(place.value) }) });
  const play = button("lake.play", () => (playing ? stop() : begin()));
  const other = button("lake.other", () => show({ seed: chosen.seed + 1, step: 0 }));
  const said = element("p", { class: "sure", role: "status" });
  const bars = element("ul", { class: "bars" });
  const cells = Array.from(TILES, (tile, from) => {
    const named = words("lake.cell", { row: (from >> 2) + 1, column: (from % 4) + 1, on: words(`lake.${tile}`) });
    const onkeydown = (event) => keyed(event, from);
    return element("input", { type: "radio", name: "from", "aria-label": named, onkeydown, onchange: () => show({ from, step: 0 }) });
  });
  const ice = element("div", { class: "ice", role: "radiogroup", "aria-label": words("lake.map") }, cells);
  const tools = element("div", { class: "row brush" }, place, play, other);
  const top = element("div", { class: "top" }, element("h1", {}, words("lake.title")), element("div", { class: "segments" }, models));
  const beside = element("div", { class: "input" }, said, tools, bars, element("p", { class: "hint" }, words("lake.legend")), foot, call.root);
  const root = element("div", { class: "lake" }, top, line, refusal, element("div", { class: "work" }, ice, beside));
  play.hidden = matchMedia("(prefers-reduced-motion: reduce)").matches;
  show({});

  /** Another walk, or another place on it. */
  async function show(change) {
    const { slippery } = Object.assign(chosen, change);
    models.forEach((each, n) => each.setAttribute("aria-pressed", String(n === slippery)));
    other.hidden = !slippery;
    play.disabled = place.disabled = of !== slippery;
    if (of === slippery) {
      asked = close();
      return tell(chosen);
    }
    if (asked === slippery) return;
    asked = slippery;
    await work((signal) => lookedUp(slippery, signal), true);
    if (asked === slippery) asked = undefined;
  }

  async function lookedUp(slippery, signal) {
    const call = postJson(`predict/${MODELS[slippery]}`, { rows: cells.map((_, n) => [n]) });
    table = (await ask(call, signal)).document.predictions;
    of = slippery;
    play.disabled = place.disabled = false;
    tell(chosen);
    return [call];
  }

  function tell({ slippery, from, seed }) {
    const steps = walk(table.map(({ index }) => index), from, slippery, seed);
    const step = (chosen.step = Math.min(chosen.step, steps.length));
    if (step === steps.length) stop();
    const states = [from, ...steps.slice(0, step).map((each) => each.state)];
    const here = states.at(-1);
    const order = [...new Set(table.flatMap(({ outputs }) => outputs.q_values.map(rounded)))].sort((one, other) => one - other);
    cells.forEach((cell, n) => paint(cell, n, table[n], order, n === here ? "here" : states.includes(n) ? "been" : ""));
    cells[from].checked = true;
    place.max = steps.length;
    place.value = step;
    const { wanted, way } = steps[step - 1] ?? {};
    const went = here === states.at(-2) ? words("lake.held") : ways[way];
    said.textContent = words(step ? "lake.went" : "lake.from", { step, steps: steps.length, wanted: ways[wanted], went, on: words(`lake.${TILES[here]}`) });
    const { index, outputs } = table[here];
    bars.replaceChildren(...outputs.q_values.map((q, n) => bar(ways[n], Math.max(0, q), q.toFixed(4).replace("-0.0000", "0.0000"), n === index && "best")));
    remember({ model: slippery ? MODELS[1] : undefined, from: from || undefined, seed: (slippery && seed) || undefined, step: step || undefined });
  }

  function keyed(event, state) {
    const way = KEYS.indexOf(event.key);
    if (way < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const from = moved(state, way);
    cells[from].focus();
    show({ from, step: 0 });
  }

  function begin() {
    play.textContent = words("stop");
    playing = setInterval(() => play.disabled || show({ step: chosen.step + 1 }), PACE_MS);
    if (place.value === place.max) show({ step: 0 });
  }

  function stop() {
    playing = clearInterval(playing);
    play.textContent = words("lake.play");
  }

  return { root, close: () => (stop(), close()) };
}

const rounded = (q) => Math.max(0, Number(q.toFixed(3)));

/** A quarter of a cell is the denser the more ways of the lake are worse: on firm ice all but those into holes are nearly as good. */
function paint(cell, state, { index, outputs }, order, visited) {
  const better = (way) => order.indexOf(rounded(outputs.q_values[way])) / (order.length - 1 || 1);
  const dense = (way) => `color-mix(in srgb, var(--accent) ${65 * better(way)}%, var(--sheet))`;
  const quarters = [3, 2, 1, 0].map((way, n) => `${dense(way)} 0 ${25 * (n + 1)}%`); // clockwise, from the upper one
  cell.style.setProperty("background", `conic-gradient(from -45deg, ${quarters})`);
  cell.dataset.sign = SIGNS[TILES[state]] ?? `${state ? "" : "S"}${ARROWS[index]}`;
  cell.className = visited;
}
