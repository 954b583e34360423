// What is asked until somebody answers, with a line that says so meanwhile. Knows no panels.

import { Problem, back, passing } from "./api.js";
import { element } from "./dom.js";

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
