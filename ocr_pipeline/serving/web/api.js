// The service's routes, as the page asks them.

import { apiKey } from "./settings.js";

const BASE = new URL("..", import.meta.url);
const PAGED = /\.(pdf|tiff?)$/i;
const BUSY = [429, 503];
const BUSY_TRIES = 20;
const DEFAULT_WAIT_S = 1;

/**
 * An answer that is no success, after RFC 9457; status 0: there was no answer, or half of one.
 * `key`: of the text that is its title, where it is not that of the status.
 */
export class Problem extends Error {
  constructor({ status = 0, title = "", detail = "", key } = {}) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.key = key;
  }
}

/** State of the service: {status, detail}; status "away" where nothing answers. */
export async function readiness() {
  try {
    const answer = await fetch(new URL("readyz", BASE), { cache: "no-store" });
    const { status, detail } = await answer.json();
    return typeof status === "string" ? { status, detail } : { status: "away", detail };
  } catch {
    return { status: "away", detail: "" };
  }
}

/**
 * Read a file; gives its pages as they come: {page, page_count, models, width, lines, picture, …},
 * or {page, error} of one that could not be read.
 *
 * @param onBusy called when the service has no place and the file is to be sent again.
 */
export function readPages(file, signal, onBusy) {
  return PAGED.test(file.name) ? readMany(file, signal, onBusy) : readOne(file, signal, onBusy);
}

async function* readOne(file, signal, onBusy) {
  const options = { output: "json", words: true, picture: true };
  const answer = await ask("v1/ocr", { file }, options, signal, onBusy);
  const { pages, page_count, models } = await whole(answer.json());
  for (const page of pages) {
    yield { ...page, page_count, models };
  }
}

async function* readMany(file, signal, onBusy) {
  const options = { words: true, picture: true };
  const answer = await ask("v1/ocr/batch", { files: file }, options, signal, onBusy);
  const models = await served(signal);
  for await (const line of linesOf(answer.body)) {
    const { index, file: name, ...page } = JSON.parse(line);
    if (page.page === null) {
      throw new Problem(page.error);
    }
    yield { ...page, models };
  }
}

/** Pages of a file, as "1-3,7", in another form: "hocr", "alto" or "pdf"; gives a Blob. */
export async function readAs(file, output, pages, signal) {
  return whole((await ask("v1/ocr", { file }, { output, pages }, signal)).blob());
}

/** Names of the models, as /v1/ocr gives them. */
async function served(signal) {
  const answer = await whole(fetch(new URL("v1/models", BASE), { headers: headers(), signal }));
  const models = Object.entries(answer.ok ? await whole(answer.json()) : {});
  const named = ({ name, checkpoint }) => `${name} (${checkpoint.slice(0, 12)})`;
  return Object.fromEntries(models.map(([role, model]) => [role, named(model)]));
}

async function ask(path, files, options, signal, onBusy = () => {}) {
  const url = new URL(path, BASE);
  url.search = new URLSearchParams(options);
  const body = new FormData();
  for (const [field, file] of Object.entries(files)) {
    body.append(field, file, file.name);
  }
  for (let tries = 1; ; tries++) {
    const answer = await whole(fetch(url, { method: "POST", body, headers: headers(), signal }));
    if (answer.ok) {
      return answer;
    }
    const wait = answer.headers.get("Retry-After");
    if (!BUSY.includes(answer.status) || wait === null || tries === BUSY_TRIES) {
      throw await problemOf(answer);
    }
    onBusy();
    const seconds = Number(wait); // or a date, which is not worth understanding
    await pause((Number.isFinite(seconds) ? seconds : DEFAULT_WAIT_S) * 1000, signal);
  }
}

function headers() {
  return apiKey() ? { Authorization: `Bearer ${apiKey()}` } : {};
}

async function problemOf(answer) {
  const { title, detail } = await answer.json().catch(() => ({}));
  return new Problem({ status: answer.status, title: title ?? answer.statusText, detail });
}

/** What the network gives; what it fails to give is a Problem, but for what was aborted. */
async function whole(promise) {
  try {
    return await promise;
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem();
  }
}

async function* linesOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await whole(reader.read());
    if (done) {
      return;
    }
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    yield* lines;
  }
}

/** Wait; an abort ends it at once. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
