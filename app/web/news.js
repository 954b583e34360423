// The panel "News": the topic of a text, and the words that decide it, marked where they stand. Knows no pictures.

import { bar, barsView, percentage } from "./answer.js";
import { ask, postJson } from "./api.js";
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
  const { line, refusal, foot, call, work, stop } = desk(words, { pause: PACE_MS });
  const reasons = desk(words, { call });
  const area = element("textarea", { rows: 5, placeholder: words("news.text"), "aria-label": words("news.text"), oninput: () => typed() });
  const behind = element("div", { "aria-hidden": "true" });
  const [label, sure, note, why] = ["label long", "sure", "hint", "hint"].map((name) => element("p", { class: name }));
  const topics = barsView(Object.keys(EXAMPLES), words);
  const deciding = element("ul", { class: "bars" });
  const examples = Object.entries(EXAMPLES).map(([topic, text]) => element("button", { type: "button", onclick: () => put(text) }, words.label(topic)));
  const input = element("div", { class: "input" }, element("div", { class: "paper" }, behind, area), element("div", { class: "row" }, examples));
  const head = element("div", { class: "head", role: "status" }, label, sure, note);
  const answers = element("div", { class: "answers" }, refusal, head, topics.root, element("div", { class: "deciding" }, why, reasons.refusal, deciding, reasons.foot), foot, call.root);
  const top = element("div", { class: "top" }, element("h1", {}, words("news.title")));
  const root = element("div", { class: "news" }, top, line, reasons.line, element("div", { class: "work" }, input, answers));
  let pause;
  // What was written since the link was, or is too long for it.
  put((state.text === memory.linked ? memory.text : undefined) ?? state.text ?? EXAMPLES.sport);

  function put(text) {
    area.value = text;
    typed();
  }

  function typed() {
    const text = (memory.text = area.value);
    rest();
    mark(text, []);
    work((signal) => topicOf(text, signal));
  }

  /** Nothing is asked about words that stand there no more. */
  function rest() {
    clearTimeout(pause);
    reasons.stop();
  }

  async function topicOf(text, signal) {
    const call = postJson("predict/news-mlp", { texts: [text] });
    const [prediction] = (await ask(call, signal)).document.predictions;
    label.textContent = words.label(prediction.label);
    sure.textContent = words("answer.sure", { percent: percentage(prediction.probability) });
    note.textContent = [prediction.outputs.words[0] ? "" : words("news.unknown"), ...prediction.warnings.map(words.notice)].join(" ");
    topics.show(prediction);
    memory.linked = String(new URLSearchParams({ text })).length > LONGEST_LINK ? undefined : text;
    remember({ text: memory.linked });
    // Each word left out in turn is a hundred times the work: only after a pause.
    if (text === area.value) pause = setTimeout(() => reasons.work((signal) => wordsOf(text, call, signal)), PAUSE_MS);
    return [call];
  }

  async function wordsOf(text, topic, signal) {
    const call = postJson("explain/news-mlp", { texts: [text] });
    const told = (await ask(call, signal)).document;
    mark(text, told.methods.words.parts.filter(({ fall }) => Math.abs(fall) > LEAST_FALL), words.label(told.explained.label));
    return [topic, call];
  }

  /** Tints behind the text, and a list of what weighs most. Places count whole characters, not a string's halves of them. */
  function mark(text, parts, topic) {
    const most = Math.max(...parts.map(({ fall }) => Math.abs(fall)));
    const kind = (fall) => (fall > 0 ? "pro" : "contra");
    const characters = Array.from(text);
    const between = (from, to) => characters.slice(from, to).join("");
    const places = parts.flatMap(({ fall, places }) => places.map(([from, to]) => ({ from, to, fall })));
    let end = 0;
    behind.replaceChildren();
    for (const { from, to, fall } of places.sort((one, other) => one.from - other.from)) {
      const marked = element("mark", { class: kind(fall) }, between(from, to));
      marked.style.setProperty("--share", Math.abs(fall) / most);
      behind.append(between(end, from), marked);
      end = to;
    }
    behind.append(between(end), " "); // a line that has just begun has its height, too
    why.textContent = topic ? words("news.why", { topic }) : "";
    const points = (fall) => `${fall > 0 ? "+" : "−"}${Number(Math.abs(100 * fall).toPrecision(2))}`;
    deciding.replaceChildren(...parts.slice(0, MOST_WORDS).map(({ name, fall }) => bar(name, Math.abs(fall) / most, points(fall), kind(fall))));
  }

  return { root, close: () => (stop(), rest()) };
}
