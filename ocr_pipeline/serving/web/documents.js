// Which files there are, and what is said of one that is not (wholly) read.

import { apiKey } from "./settings.js";
import { byId, icon, make, reveal } from "./dom.js";
import { hasText, t } from "./text.js";

const STATES = {
  waiting: "waiting",
  reading: "reading",
  cancelled: "cancelled",
  failed: "failed",
  locked: "problem401",
};

const items = new WeakMap();
let inSight = null;

/**
 * The files as buttons; `on`: {show(entry), remove(entry)}. A file keeps its elements, which may
 * have the focus or be half clicked.
 */
export function showDocuments(entries, current, on) {
  const list = byId("documents");
  for (const entry of entries) {
    if (!items.has(entry)) {
      items.set(entry, item(entry, on));
      list.append(items.get(entry));
    }
    fill(items.get(entry), entry, entry === current);
  }
  const kept = entries.map((entry) => items.get(entry));
  [...list.children].filter((old) => !kept.includes(old)).forEach((old) => old.remove());
  if (current && current !== inSight) {
    reveal(list, items.get(current));
  }
  inSight = current;
}

function item(entry, on) {
  const { name } = entry.file;
  const open = make(
    "button",
    { type: "button", class: "open", title: name },
    make("i", { "aria-hidden": "true" }),
    make("span", { class: "name" }, name),
  );
  const close = make("button", { type: "button", class: "close" }, icon("close"));
  open.addEventListener("click", () => on.show(entry));
  close.addEventListener("click", () => on.remove(entry));
  return make("li", {}, open, close);
}

function fill(element, entry, isCurrent) {
  const { name } = entry.file;
  const state = STATES[entry.state];
  const [open, close] = element.children;
  element.classList.toggle("current", isCurrent);
  open.firstElementChild.className = entry.state;
  open.setAttribute("aria-label", state ? `${name}, ${t(state)}` : name);
  if (isCurrent) {
    open.setAttribute("aria-current", "true");
  } else {
    open.removeAttribute("aria-current");
  }
  close.title = t("remove", { name });
  close.setAttribute("aria-label", close.title);
}

/** Instead of a page: the file waits, is read, or was not; `on`: {cancel(entry), again(entry)}. */
export function showCard(entry, service, on) {
  const card = byId("card");
  card.hidden = entry.pages.length > 0;
  if (card.hidden) {
    return;
  }
  const { state, problem } = entry;
  card.dataset.state = state;
  card.querySelector("h2").textContent = title(entry);
  card.querySelector(".detail").textContent = detail(entry, service);
  card.querySelector("progress").hidden = state !== "reading";
  card.querySelector(".status").textContent = problem?.status ? t("status", problem) : "";
  byId("key-form").hidden = state !== "locked";
  const action = byId("card-action");
  action.hidden = state === "locked";
  offer(action, entry, state === "waiting" || state === "reading", on);
}

/** Above the pages that are there: more of them come, or did not. */
export function showStrip(entry, on) {
  const strip = byId("strip");
  const { file, state, pages, count, problem } = entry;
  strip.hidden = pages.length === 0 || state === "done";
  if (strip.hidden) {
    return;
  }
  const isReading = state === "reading";
  const [said, progress, action] = strip.children;
  const done = pages.length;
  said.textContent = isReading
    ? t("readingPage", { name: file.name, done, count })
    : [t("partly"), problem && problemText(problem)].filter(Boolean).join(" · ");
  strip.classList.toggle("failed", !isReading);
  progress.hidden = !isReading;
  progress.max = count;
  progress.value = done;
  offer(action, entry, isReading, on);
}

function offer(button, entry, isOpen, on) {
  button.textContent = t(isOpen ? "cancel" : "again");
  button.onclick = () => (isOpen ? on.cancel(entry) : on.again(entry));
}

function title({ file, state, problem }) {
  const others = { waiting: t("waiting"), cancelled: t("cancelled") };
  const titles = { ...others, reading: t("readingFile", file) };
  return titles[state] ?? (problem ? problemTitle(problem) : file.name);
}

function detail({ file, state, problem, isBusy }, service) {
  if (problem) {
    return problemDetail(problem);
  }
  if (isBusy) {
    return t("busy");
  }
  if (service.status === "loading" && (state === "waiting" || state === "reading")) {
    return t("loadingModels");
  }
  return { waiting: t("waitingFor", file), cancelled: t("cancelledFile", file) }[state] ?? "";
}

/** A problem in one line. */
export function problemText(problem) {
  return [problemTitle(problem), problemDetail(problem)].filter(Boolean).join(" · ");
}

function problemTitle({ status, title: said, key: known }) {
  const key = known ?? (status ? `problem${status}` : "problemAway");
  return hasText(key) ? t(key) : said || t("problem");
}

function problemDetail({ status, detail: said }) {
  if (status === 401) {
    return apiKey() ? t("keyWrong") : said;
  }
  return status ? said : t("problemAwayDetail");
}
