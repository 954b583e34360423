// What is asked until somebody answers, with lines that say so meanwhile. Knows no panels.

import { Gone, Latest, Problem, back, passing } from "./api.js";
import { callView } from "./call.js";
import { element, hide, waitingLine } from "./dom.js";

/**
 * `root` is the line; `until(work)` does the work, again and again while nobody answers, and hands a Problem to `told`.
 * Given up when `signal` is aborted; resolves to whether the work was done. `away()` is called when nobody answers.
 */
export function patience(words, signal, told, away = () => undefined) {
  const root = element("p", { class: "gone", role: "alert", hidden: true });
  return {
    root,
    hide: () => (root.hidden = true),
    async until(work, given = signal, refused = told) {
      while (!given.aborted) {
        try {
          await work();
          root.hidden = true;
          return true;
        } catch (error) {
          if (given.aborted) return false;
          if (!passing(error)) {
            root.hidden = true;
            if (!(error instanceof Problem)) throw error;
            refused(error);
            return false;
          }
          away();
          const title = error instanceof Gone ? words("gone.title") : `${words.problem(error)}.`;
          root.replaceChildren(element("strong", {}, title), " ", words("gone.detail"));
          root.hidden = false;
          await back(given);
        }
      }
      return false;
    },
  };
}

/**
 * Where a panel asks, one question at a time. `line`, `refusal` and `foot` say how it goes, and offer to stop and to ask
 * again; `call` shows the last calls that were answered. What stands in `place` pales while it is of something else.
 * `work(job, urgent)` resolves to whether the job was done: it is not when it is refused, stopped or replaced by a later one
 * while it waits; `urgent` ends what is under way. `job(signal)` may resolve to the calls that it made.
 */
export function desk(words, { place, pause = 50, call = callView(words) } = {}) {
  const again = () => element("button", { type: "button", onclick: () => work(asked) }, words("again"));
  const refusal = element("p", { class: "refusal", role: "alert", hidden: true });
  const stopped = element("p", { class: "waiting", role: "status", hidden: true });
  const waiting = waitingLine(words("answer.waiting"), words("stop"), () => {
    stop();
    say(stopped, words("stopped"), " ", again());
  });
  const patient = patience(words, undefined, refuse, waiting.end);
  const latest = new Latest(answer, pause);
  let [asked, replaced] = [];

  function work(job, urgent) {
    replaced?.(false);
    asked = job;
    return new Promise((resolve) => latest.ask({ job, resolve: (replaced = resolve) }, urgent));
  }

  async function answer({ job, resolve }, signal) {
    if (replaced === resolve) replaced = undefined;
    hide(stopped);
    waiting.begin();
    try {
      const done = await patient.until(async () => {
        const made = await job(signal);
        if (signal.aborted) return;
        settle();
        if (made) call.show(...made);
      }, signal);
      resolve(done && !signal.aborted);
    } finally {
      if (!signal.aborted) waiting.end();
    }
  }

  function refuse(problem) {
    say(refusal, element("strong", {}, words.problem(problem)), " ", problem.message, " ", problem.status >= 500 && again());
  }

  function say(line, ...told) {
    settle();
    line.replaceChildren(...told.filter(Boolean));
    line.hidden = false;
    place?.classList.add("alone");
  }

  function settle() {
    [refusal, stopped].forEach(hide);
    place?.classList.remove("alone");
  }

  function stop() {
    latest.stop();
    replaced = replaced?.(false);
    waiting.end();
    patient.hide();
    settle();
  }

  return { line: patient.root, refusal, foot: element("div", { class: "foot" }, waiting.root, stopped), call, work, stop };
}
