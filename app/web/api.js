// Calls of the service: asked, timed, refused, and written down for a terminal. Knows no panels and no words.

// Modules lie one folder below the service's root, wherever a proxy has mounted it.
const ROOT = new URL("../", import.meta.url);
// Pictures of so many bytes are written into a call that is copied, larger ones are named.
const MOST_BYTES_WRITTEN = 4_096;
// What is not answered by then never will be; who sends much has longer.
const [PATIENCE_MS, BYTES_PER_MS] = [20_000, 50];
// What a proxy says while nobody is behind it.
const NOBODY = [502, 503, 504];

// The key that the service may want: for as long as the tab is open.
const STORED = "percept-key";
// What a header can carry.
const SENDABLE = /^[\x21-\x7e]+$/;

/** `want(refused)` lets a person say a key, and resolves with it; `refused` if there was one already. `kept()` is told of it. */
export const door = { want: undefined, kept: undefined };
let key = stored();
let wanted; // by all who wait for it, at once

/** What the service refused, as its problem document says it. */
export class Problem extends Error {
  constructor({ type = "", title = "", detail = "" }, status) {
    super(detail || title);
    this.kind = type.split(":").at(-1);
    this.title = title;
    this.status = status;
  }
}

/** Nobody answered at all. */
export class Gone extends Error {}

/** Whether it is worth asking again: nobody answered, or too much is asked for now. What the memory is too small for stays so. */
export const passing = (error) => error instanceof Gone || ([429, 503].includes(error.status) && error.kind !== "out-of-memory");

const failures = new Map(); // of modules, how often each could not be had

/** A module of the page. Throws Gone; a browser remembers a failure by the address, so that the next try has another. */
export async function load(name) {
  const failed = failures.get(name);
  try {
    return await import(`./${name}${failed ? `?${failed}` : ""}`);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    failures.set(name, (failed ?? 0) + 1);
    throw new Gone(error.message);
  }
}

/** `{method, path, headers, body, name}`: the body a Blob, `name` the file that it came from. */
export function post(path, body, name) {
  return { method: "POST", path, headers: { "Content-Type": body.type.startsWith("image/") ? body.type : "image/*" }, body, name };
}

/** The same of what is written as JSON. */
export function postJson(path, value) {
  const [type, text] = ["application/json", JSON.stringify(value)];
  return { method: "POST", path, headers: { "Content-Type": type }, body: new Blob([text], { type }), text };
}

export function get(path) {
  return { method: "GET", path, headers: {} };
}

/** The JSON, the stages of Server-Timing and the whole, in milliseconds. Throws Problem, Gone, or AbortError. */
export async function ask(call, signal) {
  const started = performance.now();
  const response = await answered(call, signal);
  const document = await read(response);
  return { document, stages: stages(response.headers.get("Server-Timing")), milliseconds: performance.now() - started };
}

async function read(response) {
  const document = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    if (!(error instanceof SyntaxError) || NOBODY.includes(response.status)) throw new Gone(error.message);
    throw new Problem({ title: response.statusText || `HTTP ${response.status}` }, response.status);
  });
  if (!response.ok) throw new Problem(document, response.status);
  return document;
}

/** Server-sent events as they come, `[kind, document]`, up to the one of kind `end`. Throws as `ask` does. */
export async function* told(call, signal) {
  const response = await answered(call, signal);
  if (!response.ok) await read(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let [text, kind] = [""]; kind !== "end"; ) {
    const { value, done } = await reader.read().catch(() => ({ done: true }));
    if (done) throw new Gone(call.path);
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      kind = event.match(/^event: (.*)/)[1];
      const document = JSON.parse(event.match(/^data: (.*)/m)[1]);
      if (kind === "problem") throw new Problem(document, document.status);
      yield [kind, document];
    }
  }
}

/** A file of the page. Throws Gone, or AbortError. */
export async function file(path, name, signal) {
  const response = await answered(get(`page/${path}`), signal);
  if (!response.ok) throw new Gone(`HTTP ${response.status}`);
  const content = await response.blob().catch((error) => {
    throw error.name === "AbortError" ? error : new Gone(error.message);
  });
  return new File([content], name, { type: response.headers.get("Content-Type") });
}

/** The response. Who is asked for a key asks a person, and then again. */
async function answered(call, signal) {
  for (;;) {
    const tried = key;
    const response = await fetched(call, signal);
    if (response.status !== 401) return response;
    if (tried === key) await unlock(Boolean(key));
    signal.throwIfAborted();
  }
}

export const keyed = () => Boolean(key);

/** By a key that somebody says, who may have another one. */
export async function unlock(refused = false) {
  wanted ??= said(refused).finally(() => (wanted = undefined));
  keep(await wanted);
  door.kept();
}

async function said(refused) {
  const given = await door.want(refused);
  return SENDABLE.test(given) ? given : said(true);
}

/** An address for a picture of the service: its own, or where it needs a key, one of what it holds, until `signal`. */
export async function pictureAt(path, signal) {
  if (!key) return path;
  const response = await answered(get(path), signal);
  if (!response.ok) throw new Gone(`HTTP ${response.status}`);
  const found = URL.createObjectURL(await response.blob());
  signal.addEventListener("abort", () => URL.revokeObjectURL(found));
  if (signal.aborted) URL.revokeObjectURL(found);
  return found;
}

function stored() {
  try {
    return sessionStorage.getItem(STORED)?.match(SENDABLE)?.[0] ?? "";
  } catch {
    return "";
  }
}

function keep(given) {
  key = given;
  try {
    sessionStorage.setItem(STORED, key);
  } catch {
    // Where storage is forbidden, until the page is closed.
  }
}

async function fetched({ method, path, headers: given, body }, signal) {
  const headers = key ? { ...given, Authorization: `Bearer ${key}` } : given;
  const patience = AbortSignal.timeout(PATIENCE_MS + (body?.size ?? 0) / BYTES_PER_MS);
  try {
    return await fetch(new URL(path, ROOT), { method, headers, body, signal: AbortSignal.any([signal, patience]) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Gone(error.message);
  }
}

/** `decode;dur=0.4, queue;dur=0.1` → `{decode: 0.4, queue: 0.1}`. */
function stages(header) {
  const found = [...(header ?? "").matchAll(/(\w+);dur=([\d.]+)/g)];
  return Object.fromEntries(found.map(([, name, duration]) => [name, Number(duration)]));
}

/** Resolves when the service answers again. */
export async function back(signal) {
  while (!signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const either = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
    const response = await fetch(new URL("health/live", ROOT), { signal: either }).catch(() => undefined);
    if (response?.ok) return;
  }
}

/**
 * One question at a time: what is asked while it is under way, or less than `pause` milliseconds after the last one
 * began, waits, and of what waits only the latest is asked. What is urgent ends the question under way.
 */
export class Latest {
  constructor(answer, pause = 100) {
    Object.assign(this, { answer, pause, began: -Infinity, waiting: undefined, timer: undefined, under: undefined });
  }

  ask(question, urgent = false) {
    this.waiting = [question];
    if (urgent) {
      this.under?.abort();
      this.under = undefined;
      this.began = -Infinity;
    }
    this.next();
  }

  stop() {
    this.under?.abort();
    clearTimeout(this.timer);
    this.under = this.waiting = undefined;
  }

  next() {
    clearTimeout(this.timer);
    if (this.under || !this.waiting) return;
    const wait = this.began + this.pause - performance.now();
    if (wait > 0) this.timer = setTimeout(() => this.next(), wait);
    else this.begin();
  }

  async begin() {
    const [question] = this.waiting;
    const under = new AbortController();
    this.waiting = undefined;
    this.under = under;
    this.began = performance.now();
    try {
      await this.answer(question, under.signal);
    } finally {
      if (this.under === under) {
        this.under = undefined;
        this.next();
      }
    }
  }
}

/** The call for a shell. */
export async function asCurl({ path, headers, body, name, text }) {
  const address = quoted(new URL(path, ROOT).href);
  const options = Object.entries(headers).map(([header, value]) => `-H ${quoted(`${header}: ${value}`)}`);
  if (key) options.push('-H "Authorization: Bearer $PERCEPT_KEY"');
  if (!body) return ["curl", ...options, address].join(" ");
  if (text) return ["curl", ...options, "-d", quoted(text), address].join(" ");
  if (body.size > MOST_BYTES_WRITTEN) return ["curl", ...options, "--data-binary", quoted(`@${name}`), address].join(" ");
  return `printf %s ${await base64(body)} | base64 -d | \\\n  curl ${options.join(" ")} --data-binary @- ${address}`;
}

/** The same for Python, with nothing but its standard library. */
export async function asPython({ path, headers, body, name, text }) {
  const address = JSON.stringify(new URL(path, ROOT).href);
  const sent = `${JSON.stringify(headers)}${key && ' | {"Authorization": "Bearer " + os.environ["PERCEPT_KEY"]}'}`;
  const os = key && "os, ";
  const request = `urllib.request.Request(${address}, ${body ? (text ? "asked" : "picture") + ", " : "headers="}${sent})`;
  if (!body) return `import json, ${os}urllib.request\n\nprint(json.load(urllib.request.urlopen(${key ? request : address})))`;
  const written = !text && body.size <= MOST_BYTES_WRITTEN;
  // A JSON text in a JSON string: what Python reads alike.
  const picture = written ? `base64.b64decode("${await base64(body)}")` : `open(${JSON.stringify(name)}, "rb").read()`;
  return [
    `import ${written ? "base64, " : ""}json, ${os}urllib.request`,
    "",
    text ? `asked = ${JSON.stringify(text)}.encode()` : `picture = ${picture}`,
    `request = ${request}`,
    `print(${headers.Accept ? "urllib.request.urlopen(request).read().decode()" : "json.load(urllib.request.urlopen(request))"})`,
  ].join("\n");
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

async function base64(blob) {
  return btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())));
}
