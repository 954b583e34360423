// The models that pictures can be sent to, as one chooses among them. Knows no panels.

import { element } from "./dom.js";

export const USUAL = "digits";

/**
 * Of what `GET /models` says, name → `{name, labels, subject, input, alias, threshold}`: all that take pictures and say what is
 * on them, by subject, and of each first what answers under the subject's name.
 */
export function targetsOf({ models, aliases }) {
  const same = (one, other) => one.length === other.length && one.every((label, n) => label === other[n]);
  const named = Object.entries(aliases).map(([name, answering]) => {
    const { labels, input } = models.find((model) => model.name === answering) ?? { labels: [] };
    return { name, labels, input, subject: name, alias: true };
  });
  named.sort((one, other) => (other.name === USUAL) - (one.name === USUAL));
  const plain = models
    .filter(({ input, task }) => ["image", "photograph"].includes(input) && task !== "clustering")
    .map(({ name, labels, input, metrics }) => {
      const subject = named.find((each) => same(each.labels, labels))?.subject ?? "other";
      return { name, labels, input, subject, alias: false, threshold: metrics.threshold };
    });
  return new Map([...named, ...plain].map((target) => [target.name, target]));
}

/** What a select has at first: what the link names, what is best for its subject, the usual one, or the first. */
export function initial(targets, name, subject) {
  return [name, subject, USUAL].find((each) => targets.has(each)) ?? targets.keys().next().value ?? "";
}

export function grouped(targets, words) {
  const said = ({ name, subject, alias }) => (alias ? words("models.best", { subject: words.subject(subject) }) : name);
  const option = (target) => element("option", { value: target.name }, said(target));
  return Object.entries(Object.groupBy(targets.values(), ({ subject }) => subject)).map(([subject, members]) =>
    element("optgroup", { label: words.subject(subject) }, members.map(option)),
  );
}
