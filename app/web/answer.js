// One model's answer to a picture: label, bars, what it saw, what the service noticed, what it took.
// Knows no drawing board and no other models.

import { Gone, Latest, Problem, ask, load, passing, post } from "./api.js";
import { callView } from "./call.js";
import { element, segments, waitingLine } from "./dom.js";

const MOST_BARS = 12;
// A service that has too much to do is asked again after that.
const AGAIN_MS = 500;
// What the answer may be laid over with; the first is nothing.
const GROUNDS = ["none", "pixels", "patches"];

/**
 * `target` is `{name, labels, threshold}`; `gone()` is called when nobody answers any more, `said()` when there is a final answer,
 * as `spoken()` has it until `hush()`. `ask({blob, name}, urgent)` asks, `asked(picture)` tells whether that was what was
 * asked last, `clear()` forgets.
 */
export function answerView(words, target, { gone, said }) {
  const label = element("p", { class: "label" });
  const sure = element("p", { class: "sure" });
  const model = element("a", { class: "model" });
  const notices = element("ul", { class: "notices" });
  const bars = barsView(target.labels, words);
  const seen = seenView(words, () => latestCall, gone, (...made) => call.show(...made));
  const reason = element("p", { class: "reason" });
  const timing = element("p", { class: "timing" }, "\u00a0");
  const waiting = waitingLine(words("answer.waiting"), words("stop"), () => {
    stop();
    last = undefined; // so that another model is asked about it
    refuse(words("stopped"));
  });
  const call = callView(words);
  const root = element(
    "section",
    { class: "answer", "data-state": "empty", "aria-label": words("answer.of", { model: target.name }) },
    element("div", { class: "head" }, label, element("div", {}, sure, reason, model)),
    element("div", { class: "grounds" }, element("div", { class: "told" }, bars.root, notices), seen.root),
    element("div", { class: "foot" }, timing, waiting.root),
    call.root,
  );
  const latest = new Latest(answer);
  let latestCall;
  let last; // what was asked last
  let text = "";
  empty();

  function empty() {
    root.dataset.state = "empty";
    label.classList.remove("long");
    label.textContent = "";
    sure.textContent = words("answer.empty");
    model.textContent = target.name;
    model.href = `models/${encodeURIComponent(target.name)}`;
    reason.textContent = "";
    call.show();
    notices.replaceChildren();
    bars.clear();
    seen.clear();
    timing.textContent = "\u00a0";
  }

  async function answer(picture, signal) {
    const { blob, name, final } = picture;
    const asked = post(`predict/${encodeURIComponent(target.name)}?as_seen=true`, blob, name);
    root.setAttribute("aria-busy", "true");
    waiting.begin();
    try {
      const { document, stages, milliseconds } = await ask(asked, signal);
      if (!signal.aborted) show(asked, document, stages, milliseconds, final);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Gone) gone(error);
      else if (passing(error)) await busy(picture, error, signal);
      else if (error instanceof Problem) refused(asked, error);
      else throw error;
    } finally {
      if (!signal.aborted) rest();
    }
  }

  function show(asked, { model: answering, version, predictions: [prediction] }, stages, milliseconds, final) {
    const named = words.label(prediction.label);
    const asker = prediction.model ?? answering;
    const percent = prediction.probability === undefined ? undefined : percentage(prediction.probability);
    root.dataset.state = "answered";
    reason.textContent = "";
    label.textContent = named;
    label.classList.toggle("long", named.length > 2);
    sure.textContent = percent ? words("answer.sure", { percent }) : without(prediction);
    model.textContent = prediction.model ? asker : words("answer.version", { model: asker, version });
    model.href = `models/${encodeURIComponent(asker)}`;
    notices.replaceChildren(...prediction.warnings.map((each) => element("li", {}, words.notice(each))));
    bars.show(prediction);
    timing.textContent = told(stages, milliseconds);
    call.show(asked);
    latestCall = { asked, model: asker };
    seen.show(prediction, final);
    if (final) tell([named, sure.textContent, ...prediction.warnings.map(words.notice)].join(". "));
  }

  /** What is said in the place of a probability. */
  function without({ outputs }) {
    const [error, most] = [outputs?.reconstruction_error, target.threshold].map((value) => value?.toPrecision(3) ?? "?");
    return words(error === "?" ? "answer.margin" : "answer.rebuilt", { error, most });
  }

  function tell(final) {
    text = final;
    said();
  }

  function rest() {
    root.removeAttribute("aria-busy");
    waiting.end();
  }

  /** What is under way is given up; what there was stays. */
  function stop() {
    latest.stop();
    rest();
  }

  /** What there is stays, and the picture is asked again, unless there is a newer one. */
  async function busy(picture, problem, signal) {
    waiting.end();
    timing.textContent = words.problem(problem);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    if (!signal.aborted) latest.waiting ??= [picture];
  }

  function refused(asked, problem) {
    refuse(words.problem(problem), problem.message);
    call.show(asked);
  }

  function refuse(title, detail) {
    empty();
    root.dataset.state = "refused";
    sure.textContent = title;
    reason.textContent = detail;
    tell(detail ? `${title}. ${detail}` : title);
  }

  function told({ decode = 0, inference = 0 }, milliseconds) {
    const told = (value) => value.toFixed(value < 10 ? 1 : 0);
    return words("answer.timing", { model: told(inference), picture: told(decode), whole: told(milliseconds) });
  }

  return {
    root,
    name: target.name,
    ask(picture, final) {
      last = picture;
      latest.ask({ ...picture, final }, final);
    },
    asked: (picture) => picture === last,
    spoken: () => text,
    hush: () => (text = ""),
    refuse(title, detail) {
      stop();
      refuse(title, detail);
    },
    clear() {
      stop();
      last = undefined;
      text = "";
      empty();
    },
    close() {
      stop();
      seen.close();
    },
  };
}

/** Never rounded to certainty, and nothing where there is next to nothing. */
export function percentage(share) {
  if (share < 0.0005) return "";
  return share < 1 && share >= 0.9995 ? ">99.9%" : `${(100 * share).toFixed(1)}%`;
}

/** A row of such a list that does not move. */
export function bar(name, share, value, kind = false) {
  const made = element("span", { class: "bar", "aria-hidden": "true" });
  made.style.setProperty("--share", share);
  return element("li", { class: kind }, element("span", {}, name), made, element("span", { class: "value" }, value));
}

/** A row for each class, always in the same place: its bar alone moves. */
export function barsView(labels, words) {
  const rows = labels.slice(0, MOST_BARS).map(() => {
    const [name, value] = ["name", "value"].map((part) => element("span", { class: part }));
    const bar = element("span", { class: "bar", "aria-hidden": "true" });
    return { name, bar, value, root: element("li", {}, name, bar, value) };
  });
  const title = words(labels.length > rows.length ? "answer.bars.some" : "answer.bars", { bars: rows.length });
  const root = element("ul", { class: "bars", "aria-label": title }, rows.map((row) => row.root));
  fill([], [], -1);

  /** Where there are more classes than rows, the best has the last row unless it has one of its own. */
  function fill(shares, texts, best) {
    rows.forEach((row, place) => {
      const n = place === rows.length - 1 ? Math.max(place, best) : place;
      row.name.textContent = words.label(labels[n]);
      row.bar.style.setProperty("--share", shares[n] ?? 0);
      row.value.textContent = texts[n] ?? "";
      row.root.classList.toggle("best", n === best);
    });
  }

  return {
    root,
    clear: () => fill([], [], -1),
    show({ probabilities, outputs, index }) {
      const margins = outputs?.margins;
      if (probabilities) fill(probabilities, probabilities.map(percentage), index);
      else if (margins?.length === labels.length) fill(between(margins), margins.map((each) => each.toFixed(2)), index);
      else fill([], [], index);
    },
  };
}

/** The least 0, the greatest 1. */
function between(numbers) {
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  return numbers.map((number) => (most > least ? (number - least) / (most - least) : 0));
}

/** The picture that the model got, laid over with what the answer rests on if somebody wants it. */
function seenView(words, latestCall, gone, called) {
  const picture = element("img", { alt: words("seen.alt"), width: "28", height: "28", hidden: true });
  const overlay = element("canvas", { width: "28", height: "28", "aria-hidden": "true", hidden: true });
  const remark = element("figcaption", {}, words("seen.title"));
  const note = element("p", { class: "note" });
  const rebuilt = element("img", { class: "rebuilt", alt: words("seen.rebuilt"), width: "28", height: "28", hidden: true });
  const root = element(
    "figure",
    { class: "seen" },
    remark,
    element("div", { class: "frames" }, element("div", { class: "frame" }, picture, overlay), rebuilt),
    segments(GROUNDS, "none", choose, (ground) => words(`ground.${ground}`), words("ground.title")),
    note,
  );
  const leaving = new AbortController();
  let ground = "none";
  let under = new AbortController();
  let found; // what is laid over it
  addEventListener("relight", () => overlay.hidden || found.paint(overlay), { signal: leaving.signal });

  function choose(chosen) {
    ground = chosen;
    lay();
  }

  /** An explanation takes a hundred times what an answer takes: only of what is final, and only the last wanted. */
  async function lay() {
    under.abort();
    overlay.hidden = true;
    note.textContent = "";
    const asked = latestCall();
    if (picture.hidden || !asked) return;
    called(asked.asked);
    if (ground === "none") return;
    under = new AbortController();
    const { signal } = under;
    note.textContent = words("ground.waiting");
    try {
      const { explained } = await load("explanation.js");
      const made = await explained(asked, ground, signal);
      if (signal.aborted) return;
      found = made;
      overlay.width = found.width;
      overlay.height = found.height;
      overlay.hidden = false;
      found.paint(overlay);
      called(asked.asked, found.call);
      note.textContent = words(`ground.${ground}.note`, { label: words.label(found.label) });
    } catch (error) {
      if (signal.aborted) return;
      if (passing(error)) gone(error); // and it is looked for again with the next answer
      else if (!(error instanceof Problem)) throw error;
      note.textContent = passing(error) ? "" : error.message || words("ground.absent");
    }
  }

  return {
    root,
    close() {
      leaving.abort();
      under.abort();
    },
    clear() {
      under.abort();
      picture.hidden = overlay.hidden = rebuilt.hidden = true;
      note.textContent = "";
    },
    show(prediction, final) {
      under.abort(); // an explanation of an older picture
      note.textContent = "";
      const { as_seen: seen, outputs } = prediction;
      if (seen) picture.src = seen;
      picture.hidden = !seen;
      rebuilt.hidden = !outputs?.reconstruction;
      if (outputs?.reconstruction) rebuilt.src = outputs.reconstruction;
      remark.textContent = words(rebuilt.hidden ? "seen.title" : "seen.both");
      overlay.hidden = true;
      if (final) lay();
    },
  };
}
