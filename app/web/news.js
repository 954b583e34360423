// The panel "News": the topic of a text, and the words that decide it, marked where they stand. Knows no pictures.

import { bar, barsView, percentage } from "./answer.js";
import { Latest } from "./api.js";
import { element } from "./dom.js";
import { LONGEST_LINK } from "./drawing_board.js";
import { desk } from "./patience.js";

// By topic, in the model's order.
const EXAMPLES = {
  business: "Shares rose after the company said its profits grew with exports.",
  entertainment: "The actress won the best film award, and the band topped the chart.",
  politics: "The minister promised voters lower taxes before the election.",
  sport: "The striker scored twice in the cup final.",
  tech: "Users search the web with phones, and fear their software.",
};
// A fall of less may be rounding alone.
const [PACE_MS, PAUSE_MS, MOST_WORDS, LEAST_FALL] = [300, 600, 8, 1e-6];

/** `page` as of recognise.js. */
export function news({ words, state, remember, memory }) {
  const { lines, call, ask, rest, close } = desk(words);
  const area = element("textarea", { id: "text", rows: "5", spellcheck: "false", oninput: () => typed() });
  const behind = element("div", { "aria-hidden": "true" });
  const [label, sure, note, why] = ["label long", "sure", "hint", "hint"].map((name) => element("p", { class: name }));
  const topics = barsView(Object.keys(EXAMPLES), words);
  const deciding = element("ul", { class: "bars" });
  const examples = Object.entries(EXAMPLES).map(([topic, text]) => element("button", { type: "button", onclick: () => put(text) }, words.label(topic)));
  const input = [element("label", { class: "hint", for: "text" }, words("news.text")), element("div", { class: "paper" }, behind, area), element("div", { class: "row" }, examples)];
  const answer = [element("div", { class: "head", role: "status" }, label, sure, note), topics.root, element("div", { class: "deciding" }, why, deciding), call];
  const root = element(
    "div",
    { class: "news" },
    element("div", { class: "top" }, element("h1", {}, words("news.title"))),
    element("div", { class: "work" }, element("div", { class: "input" }, input), element("div", { class: "answers" }, lines, element("section", { class: "answer" }, answer))),
  );
  const answering = new Latest(topicOf, PACE_MS);
  const explaining = new Latest(wordsOf);
  let pause;
  put(state.text ?? memory.text ?? EXAMPLES.sport);

  function put(text) {
    area.value = text;
    typed();
  }

  function typed() {
    const text = (memory.text = area.value);
    halt();
    mark(text, []);
    if (text.trim()) return answering.ask(text);
    answering.stop();
    rest();
    write(text);
    topics.clear();
    label.textContent = note.textContent = "";
    sure.textContent = words("news.text");
  }

  function halt() {
    clearTimeout(pause);
    explaining.stop();
  }

  function write(text) {
    remember({ text: String(new URLSearchParams({ text })).length > LONGEST_LINK ? undefined : text });
  }

  async function topicOf(text, given) {
    write(text);
    const told = await ask("predict/news-mlp", { texts: [text] }, given);
    if (!told) return;
    const [prediction] = told.predictions;
    label.textContent = words.label(prediction.label);
    sure.textContent = words("answer.sure", { percent: percentage(prediction.probability) });
    note.textContent = [prediction.outputs.words[0] ? "" : words("news.unknown"), ...prediction.warnings.map(words.notice)].join(" ");
    topics.show(prediction);
    // Each word left out in turn is a hundred times the work: only after a pause.
    if (text === area.value) pause = setTimeout(() => explaining.ask(text), PAUSE_MS);
  }

  async function wordsOf(text, given) {
    const told = await ask("explain/news-mlp", { texts: [text] }, given);
    if (told) mark(text, told.methods.words.parts.filter(({ fall }) => Math.abs(fall) > LEAST_FALL), words.label(told.explained.label));
  }

  /** Tints behind the text, and a list of what weighs most. Places count whole characters, not a string's halves of them. */
  function mark(text, parts, topic) {
    const most = Math.max(...parts.map(({ fall }) => Math.abs(fall)));
    const kind = (fall) => (fall > 0 ? "pro" : "contra");
    const characters = Array.from(text);
    const between = (from, to) => characters.slice(from, to).join("");
    let end = 0;
    const places = parts.flatMap(({ fall, places }) => places.map(([from, to]) => [from, to, fall])).sort(([one], [other]) => one - other);
    const nodes = places.flatMap(([from, to, fall]) => {
      const marked = element("mark", { class: kind(fall) }, between(from, to));
      marked.style.setProperty("--share", Math.abs(fall) / most);
      const before = between(end, from);
      end = to;
      return [before, marked];
    });
    // A line that has just begun has its height, too.
    behind.replaceChildren(...nodes, `${between(end)} `);
    why.textContent = parts.length ? words("news.why", { topic }) : "";
    const points = (fall) => `${fall > 0 ? "+" : "−"}${Number(Math.abs(100 * fall).toPrecision(2))}`;
    deciding.replaceChildren(...parts.slice(0, MOST_WORDS).map(({ name, fall }) => bar(name, Math.abs(fall) / most, points(fall), kind(fall))));
  }

  return { root, close: () => (halt(), answering.stop(), close()) };
}
