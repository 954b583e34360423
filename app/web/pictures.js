// Pictures that people bring: dropped, pasted, chosen, photographed. Knows no API and no words.

/** Calls `taken` with each file that is dropped or pasted anywhere, until `signal` is aborted. `over` is told whether
 * one is being dragged. */
export function takePictures(taken, over, signal) {
  let depth = 0; // of elements that were entered and not left: leaving one may be entering another
  const on = (name, listener) => addEventListener(name, listener, { signal });
  const drag = (listener) => (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    listener(event);
  };
  on("dragenter", drag(() => over(++depth > 0)));
  on("dragleave", drag(() => over(--depth > 0)));
  on("dragover", drag(() => {}));
  on("drop", drag((event) => {
    over((depth = 0) > 0);
    const [file] = event.dataTransfer.files;
    if (file) taken(file);
  }));
  on("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (!file) return;
    event.preventDefault();
    taken(file);
  });
}
