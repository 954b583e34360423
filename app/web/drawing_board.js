// A board to draw on with mouse, pen or finger: strokes, undo, and the picture of them. Knows no API and no words.
//
// Strokes are `{brush, points}`: the width in hundredths of the board's side, places as [x, y] from 0 to FINEST.

const FINEST = 4_095; // two digits of base 64
// A drawing is sent as light ink on dark, as the models have learned them, and so small that its bytes fit into a link.
const SIDE_SENT = 64;
// Places nearer to the last one than this tell nothing of a stroke.
const NEAR = FINEST / 100;
const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
// A link may be so long wherever it is sent; what is beyond that stays out of it.
export const LONGEST_LINK = 6_000;
export const BRUSHES = { least: 4, usual: 8, most: 16 };

export class DrawingBoard {
  /** `changed(done)` is called while a stroke is drawn, and with true at its end and when strokes are taken back. */
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, strokes: [], brush: BRUSHES.usual, pointer: undefined });
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.go(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.end(event));
    this.sized = new ResizeObserver(() => this.paint());
    this.sized.observe(canvas);
  }

  begin(event) {
    if (event.button !== 0 || this.pointer !== undefined) return;
    event.preventDefault();
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.strokes.push({ brush: this.brush, points: [this.place(event)] });
    this.drawn(false);
  }

  go(event) {
    if (event.pointerId !== this.pointer) return;
    const { points } = this.strokes.at(-1);
    // A browser tells several places in one event if a pen is quicker than the screen.
    const events = event.getCoalescedEvents?.() ?? [];
    const before = points.length;
    for (const each of events.length ? events : [event]) {
      const place = this.place(each);
      const last = points.at(-1);
      if (Math.hypot(place[0] - last[0], place[1] - last[1]) > NEAR) points.push(place);
    }
    if (points.length > before) this.drawn(false);
  }

  end(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = undefined;
    this.drawn(true);
  }

  place({ clientX, clientY }) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const within = (share) => Math.round(Math.min(1, Math.max(0, share)) * FINEST);
    return [within((clientX - left) / width), within((clientY - top) / height)];
  }

  drawn(done) {
    this.paint();
    this.changed(done);
  }

  /** Takes the last stroke back, even while it is drawn; false if there is none. */
  undo() {
    this.pointer = undefined;
    if (!this.strokes.pop()) return false;
    this.drawn(true);
    return true;
  }

  /** Other strokes, or none, in place of all; a stroke under way ends. Tells nobody. */
  put(strokes) {
    this.pointer = undefined;
    this.strokes = strokes;
    this.paint();
  }

  /** On the screen, in the colour of the text there. */
  paint() {
    const side = Math.round(this.canvas.clientWidth * devicePixelRatio);
    if (!side) return;
    if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, side, side);
    ink(context, side, this.strokes, getComputedStyle(this.canvas).color);
  }

  close() {
    this.sized.disconnect();
  }
}

/** The PNG of strokes that is sent. */
export function pictureOf(strokes) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE_SENT;
  const context = canvas.getContext("2d", { alpha: false });
  ink(context, SIDE_SENT, strokes, "white");
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function ink(context, side, strokes, colour) {
  const scale = side / FINEST;
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = colour;
  for (const { brush, points } of strokes) {
    context.lineWidth = (brush / 100) * side;
    context.beginPath();
    const scaled = points.map(([x, y]) => [x * scale, y * scale]);
    context.moveTo(...scaled[0]);
    // Through the middles between places, each place the control of a curve: round where a hand was.
    for (let n = 1; n < scaled.length - 1; n++) {
      const [[x, y], [nextX, nextY]] = [scaled[n], scaled[n + 1]];
      context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    }
    context.lineTo(...scaled.at(-1));
    context.stroke();
  }
}

/** Strokes as a piece of a link: a digit for the brush, four for each place, a dot between strokes. Undefined if there
 * are none, or too many. */
export function written(strokes = []) {
  const number = (value) => DIGITS[value >> 6] + DIGITS[value & 63];
  const text = strokes.map(({ brush, points }) => DIGITS[brush] + points.flat().map(number).join("")).join(".");
  return text && text.length <= LONGEST_LINK ? text : undefined;
}

/** The strokes of `written`; none of what nobody here has written. */
export function read(text) {
  if (!/^[\w-]([\w-]{4})+(\.[\w-]([\w-]{4})+)*$/.test(text)) return [];
  return text.split(".").map((stroke) => {
    const numbers = stroke.slice(1).match(/../g).map(([high, low]) => DIGITS.indexOf(high) * 64 + DIGITS.indexOf(low));
    const points = numbers.flatMap((value, n) => (n % 2 ? [] : [[value, numbers[n + 1]]]));
    return { brush: Math.min(BRUSHES.most, Math.max(BRUSHES.least, DIGITS.indexOf(stroke[0]))), points };
  });
}
