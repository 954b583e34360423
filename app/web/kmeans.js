// k-means on points that somebody places, round by round as the service tells it. Knows no panels.

import { ask, get, passing, postJson } from "./api.js";
import { field, stepper } from "./controls.js";
import { element, segments } from "./dom.js";
import { pointed, spot } from "./places.js";
import { curve, plane } from "./plot.js";

// One scale for both axes: what looks near is near.
const [X, Y, HEIGHT] = [[0, 120], [0, 80], 322];
const BY_HAND = "given";
const STARTS = ["random", "k-means++", BY_HAND];

/** As of KINDS in points.js. */
export function kmeans({ words, state, write, answer }) {
  const whole = (text, usual) => (/^\d{1,9}$/.test(text) ? Number(text) : usual);
  const now = { ...state, k: whole(state.k, 3), seed: whole(state.seed, 1) };
  if (!STARTS.includes(now.start)) [now.start] = STARTS;
  let points = state.points === undefined ? blobs(now.seed) : read(state.points);
  let centres = read(state.centres); // where they start, if by hand
  let rounds = [];
  let held; // the number of the point under the hand, and whether letting go takes it away
  const acts = {
    press(place, reach) {
      if (placing()) centres.push(place);
      else if ((held = near(place, reach)).still) return;
      else held.n = points.push(place) - 1;
      change();
    },
    drag(place) {
      if (!held || String(points[held.n]) === String(place)) return;
      points[held.n] = place;
      held.still = false;
      change();
    },
    release(place) {
      if (held?.still) acts.remove(place);
      held = undefined;
    },
    remove(place) {
      const { n } = near(place);
      take(points.toSpliced(n, 1), (clusters) => clusters.toSpliced(n, 1));
    },
  };
  const board = pointed({ x: X, y: Y, digits: 0, height: HEIGHT, label: words("points.plane") }, acts);
  const told = element("p", { class: "sure", role: "status" });
  const chart = element("div", { class: "chart" });
  const button = (text, act) => element("button", { type: "button", onclick: act }, text);
  const row = (...children) => element("div", { class: "row" }, children);
  const steps = stepper({ words, state: now, first: 1, keep: (changed) => write(Object.assign(now, changed)) }, draw);
  const fields = ["k", "seed"].map((name, n) =>
    field(n ? words("xor.seed") : name, { type: "number", min: 0, value: now[name] }, (value) => value && change({ [name]: Number(value) })),
  );

  const placing = () => now.start === BY_HAND && centres.length < now.k;

  /** Something was chosen, placed or moved: asked anew, if there is enough to ask about. */
  function change(values) {
    steps.pause();
    write(Object.assign(now, values, { points: points.flat().join("."), centres: centres.flat().join(".") || undefined }));
    const enough = !(points.length < now.k || placing());
    show(enough ? rounds : []);
    answer(enough && fit);
  }

  async function fit(signal) {
    const { k, start, seed } = now;
    const of = points;
    const call = postJson("cluster/fit", { points, start: start === BY_HAND ? centres.slice(0, k) : start, k, seed, tolerance: 0 });
    const { document } = await ask(call, signal).catch((error) => {
      if (error.status && !passing(error)) show([]);
      throw error;
    });
    // Who has taken a point away, or has others, waits for another answer.
    if (of !== points) return undefined;
    show(document.rounds);
    return [call];
  }

  function show(given) {
    rounds = given;
    if (rounds.length) steps.reach(rounds.length);
    else draw(0);
  }

  function draw(step) {
    const n = step - 1;
    const round = rounds[n];
    board.layer.replaceChildren(
      ...(rounds[n - 1]?.centroids ?? []).map((from, c) => curve(board, [from, round.centroids[c]], { class: "trail" })),
      ...points.map((place, p) => spot(board.at(...place), round?.assignments[p])),
      ...(round?.centroids ?? centres).map((place, c) => spot(board.at(...place), c, "centre")),
    );
    const inertia = Math.round(round?.inertia).toLocaleString(document.documentElement.lang);
    told.textContent = round || placing() || points.length < now.k ? words(`points.${round ? "inertia" : placing() ? "place" : "few"}`, { inertia, k: now.k }) : "";
    steps.root.hidden = chart.hidden = !round;
    if (!round) return;
    const small = plane({ x: [1, Math.max(6, rounds.length)], y: [0, rounds[0].inertia || 1], height: 140, label: told.textContent });
    const inertias = rounds.map((each, n) => [n + 1, each.inertia]);
    small.layer.append(curve(small, inertias, { class: "curve" }), spot(small.at(...inertias[n]), 0));
    chart.replaceChildren(small.root);
  }

  /** Of the points the nearest, and whether it is meant. */
  function near(to, reach) {
    const [x, y] = board.at(...to);
    const far = points.map((place) => board.at(...place)).map((each) => Math.hypot(each[0] - x, each[1] - y));
    const n = far.indexOf(Math.min(...far));
    return { n, still: far[n] <= reach };
  }

  /** `left(clusters)` are those of points that were there before. */
  function take(others, left = () => []) {
    points = others;
    rounds = rounds.map((round) => ({ ...round, assignments: left(round.assignments) }));
    change();
  }

  /** The course's 40; goals are spread, so that they count beside passes. */
  async function players(signal) {
    const page = get("models/players-kmeans");
    const { input } = (await ask(page, signal)).document.card;
    take(input.points.map(([passes, goals]) => [passes, 28 + 8 * goals]));
    return [page];
  }

  function begin(start) {
    centres = [];
    change({ start, step: undefined });
  }

  const examples = row(
    button(words("points.blobs"), () => take(blobs(now.seed))),
    button(words("points.players"), () => answer(players)),
    button(words("board.clear"), () => ((centres = []), take([]))),
  );
  const starts = segments(STARTS, now.start, begin, (start) => (start.endsWith("+") ? start : words(`points.${start}`)));
  change();
  return [
    element("div", { class: "told" }, board.root, element("p", { class: "hint" }, words("points.hint")), examples),
    element("div", { class: "told" }, starts, row(...fields), told, steps.root, chart),
  ];
}

/** Three times twelve points around the corners of a triangle; the seed says where. */
function blobs(seed) {
  const random = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const around = (middle) => Math.round(middle + 12 * (random() + random() + random() - 1.5));
  return Array.from({ length: 36 }, (_, n) => [around(60 + 30 * Math.cos(n * 2.1)), around(40 + 22 * Math.sin(n * 2.1))]);
}

const read = (text = "") => [...text.matchAll(/(\d+)\.(\d+)/g)].map(([, x, y]) => [Math.min(x, X[1]), Math.min(y, Y[1])]);
