// What an answer rests on, as colours over what the model saw. Loaded when somebody first wants it. Knows no panels.

import { Problem, ask, post } from "./api.js";

const QUERIES = { pixels: "occlusion=false", patches: "gradients=false" };

/** `{call, width, height, label, paint(canvas)}` for the answer to a call. Throws Problem where a model has no such thing. */
export async function explained({ asked, model }, ground, signal) {
  const call = post(`explain/${encodeURIComponent(model)}?${QUERIES[ground]}`, asked.body, asked.name);
  const { document } = await ask(call, signal);
  const { gradients, occlusion } = document.methods;
  const rows = ground === "pixels" ? gradients?.integrated_gradients.values : occlusion && spread(occlusion);
  if (!rows) throw new Problem({}, 0);
  const label = document.explained?.label ?? document.prediction.label;
  return { call, width: rows[0].length, height: rows.length, label, paint: (canvas) => paint(canvas, rows) };
}

/** To each pixel the mean of the falls of all patches that lay over it. */
function spread({ tops, lefts, falls, patch }) {
  const height = tops.at(-1) + patch;
  const width = lefts.at(-1) + patch;
  const sums = Array.from({ length: height }, () => new Float64Array(width));
  const counts = Array.from({ length: height }, () => new Float64Array(width));
  tops.forEach((top, row) =>
    lefts.forEach((left, column) => {
      for (let y = top; y < top + patch; y++)
        for (let x = left; x < left + patch; x++) {
          sums[y][x] += falls[row][column];
          counts[y][x] += 1;
        }
    }),
  );
  return sums.map((line, y) => Array.from(line, (sum, x) => sum / Math.max(1, counts[y][x])));
}

/** What speaks for the answer in one colour, what against it in the other, as dense as it is large. */
function paint(canvas, rows) {
  const { color: pro, outlineColor: contra } = getComputedStyle(canvas);
  const most = Math.max(...rows.flat().map(Math.abs)) || 1;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  rows.forEach((row, y) =>
    row.forEach((value, x) => {
      context.globalAlpha = Math.sqrt(Math.abs(value) / most);
      context.fillStyle = value > 0 ? pro : contra;
      context.fillRect(x, y, 1, 1);
    }),
  );
}
