// A plane to point into, by hand or by keys, and the marks in it. Knows no panels and no words.

import { drawing } from "./dom.js";
import { plane } from "./plot.js";

const SHAPES = ["M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", "M-4-4h8v8h-8z", "M0-5 5 4h-10z", "M0-6 6 0 0 6-6 0z", "M0 5-5-4h10z", "M-5-2h3v-3h4v3h3v4h-3v3h-4v-3h-3z"];
// So near a hand or a mouse can point, in pixels.
const REACH = { touch: 22, mouse: 12 };
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** A mark of a class or cluster, by colour and shape; where it has none yet, a plain one. */
export function spot(place, kind = "none", name = "", d = SHAPES[kind % SHAPES.length] ?? SHAPES[0]) {
  const made = drawing("path", { class: `spot ${name}`, d, transform: `translate(${place})${name === "centre" ? " scale(1.6)" : ""}` });
  made.style.setProperty("--kind", kind);
  return made;
}

/**
 * The plane of `given`, with a cross that the pointer takes along and arrow keys move. `acts` are told the place with so
 * many `digits`: `press`, `drag`, `release` (Enter is a press, too), `move` (by keys) and `remove` (Delete); `press` how far
 * around it counts, too, in units of the drawing. `within(place)` is the nearest place there is.
 */
export function pointed({ digits, ...given }, acts) {
  const board = plane(given);
  const { root } = board;
  const cross = drawing("path", { class: "cross", d: "M-9 0H9M0-9V9" });
  const bounds = [given.x, given.y];
  let place = bounds.map(([low, high]) => (low + high) / 2);

  const within = (to) => to.map((value, n) => Number(Math.min(bounds[n][1], Math.max(bounds[n][0], value)).toFixed(digits)));
  const reach = (pointer) => (REACH[pointer] ?? REACH.mouse) / root.getScreenCTM().a;

  function tell(act, to = place, pointer) {
    place = within(to);
    cross.setAttribute("transform", `translate(${board.at(...place)})`);
    acts[act]?.(place, act === "press" && reach(pointer));
  }

  const listeners = {
    pointerdown(event) {
      if (event.button) return;
      root.setPointerCapture(event.pointerId);
      tell("press", board.from(event), event.pointerType);
    },
    pointermove: (event) => root.hasPointerCapture(event.pointerId) && tell("drag", board.from(event)),
    lostpointercapture: () => tell("release"),
    keydown(event) {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const way = KEYS[event.key];
      if (way) tell("move", place.map((value, n) => value + (way[n] * (event.shiftKey ? 1 : 5)) / 10 ** digits));
      else if (event.key === "Enter") tell("press"), tell("release");
      else if (event.key === "Delete") tell("remove");
      else return;
      event.preventDefault();
    },
  };
  for (const [name, listener] of Object.entries(listeners)) root.addEventListener(name, listener);
  root.setAttribute("role", "application");
  root.setAttribute("tabindex", 0);
  root.append(cross);
  return { ...board, tell, within };
}
