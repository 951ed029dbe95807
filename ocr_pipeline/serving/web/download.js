// Copies and files of what was read.

import { readAs } from "./api.js";
import { pagesRead } from "./page.js";

const ENDINGS = { text: "txt", json: "json", hocr: "hocr", alto: "xml", pdf: "pdf" };
const KEPT_MS = 60_000;

/** The text of all pages that were read. */
export function textOf(pages, separator) {
  return pages.map(({ text }) => text ?? "").join(separator);
}

/** Save what was read; the service is asked again for what the page has not: hOCR, ALTO, PDF. */
export async function download(form, entry, signal) {
  const { file } = entry;
  const blob = await contentOf(form, entry, signal);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${file.name.replace(/\.[^.]+$/, "")}.${ENDINGS[form]}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS); // the browser reads it after the click
}

async function contentOf(form, { file, pages, count }, signal) {
  if (form === "text") {
    return new Blob([textOf(pages, "\n\f"), "\n"], { type: "text/plain;charset=utf-8" });
  }
  if (form === "json") {
    const [{ models }] = pages;
    const bare = pages.map(({ picture, page_count: _, models: __, ...page }) => page);
    const answer = { text: textOf(pages, "\f"), page_count: count, pages: bare, models };
    return new Blob([JSON.stringify(answer, null, 1), "\n"], { type: "application/json" });
  }
  return readAs(file, form, pagesRead(pages), signal);
}

/** Put text on the clipboard; false where the browser refuses. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // on plain http there is no clipboard, but the old command
  }
}

function copyBySelection(text) {
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus({ preventScroll: true });
  return done;
}
