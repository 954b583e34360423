// What is asked until somebody answers, with a line that says so meanwhile. Knows no panels.

import { Problem, ask, back, passing, postJson } from "./api.js";
import { callView } from "./call.js";
import { element, waitingLine } from "./dom.js";

/**
 * `root` is the line; `until(work)` does the work, again and again while nobody answers, and hands a Problem to `told`.
 * Given up when `signal` is aborted.
 */
export function patience(words, signal, told) {
  const root = element("p", { class: "gone", role: "alert", hidden: true });
  return {
    root,
    hide: () => (root.hidden = true),
    async until(work, given = signal, refused = told) {
      while (!given.aborted) {
        try {
          await work();
          root.hidden = true;
          return;
        } catch (error) {
          if (given.aborted) return;
          if (!passing(error)) {
            root.hidden = true;
            if (error instanceof Problem) return refused(error);
            throw error;
          }
          root.replaceChildren(element("strong", {}, words("gone.title")), " ", words("gone.detail"));
          root.hidden = false;
          await back(given);
        }
      }
    },
  };
}

/** Where a panel asks by JSON: `lines` say how it goes, `call` shows the last call. `answer` is undefined if it is refused. */
export function desk(words) {
  const leaving = new AbortController();
  const { signal } = leaving;
  const refusal = element("p", { class: "refusal", role: "alert", hidden: true });
  const waiting = waitingLine(words("answer.waiting"));
  const call = callView(words);
  const patient = patience(words, signal, (problem) => {
    refusal.replaceChildren(element("strong", {}, words.problem(problem)), " ", problem.message);
    refusal.hidden = false;
  });
  async function answer(path, value) {
    const asked = postJson(path, value);
    let told;
    waiting.begin();
    await patient.until(async () => {
      told = (await ask(asked, signal)).document;
      refusal.hidden = true;
      call.show(asked);
    });
    waiting.end();
    return signal.aborted ? undefined : told;
  }
  return { lines: [patient.root, waiting.root, refusal], call: call.root, answer, close: () => leaving.abort() };
}
