// The page: what is shown of the files, and what the buttons and keys do.

import { Problem, pause, readiness } from "./api.js";
import { problemText, showCard, showDocuments, showStrip } from "./documents.js";
import { byId } from "./dom.js";
import { copy, download, textOf } from "./download.js";
import { Lines } from "./lines.js";
import { isDoubtful } from "./page.js";
import { Picture } from "./picture.js";
import { Queue } from "./queue.js";
import { isKey, remember, remembered, setApiKey } from "./settings.js";
import { hasText, LANGUAGES, preferredLanguage, setLanguage, t } from "./text.js";
import { say, tell } from "./toast.js";

const THEMES = { system: "(prefers-color-scheme: dark)", light: "not all", dark: "all" };
const THRESHOLDS = ["80", ...Array.from({ length: 51 }, (_, step) => String(50 + step))];
const LOOK_MS = { ready: 20_000, otherwise: 1_000 };

let service = { status: "loading", detail: "" };
let current = null;
let chosen = null;
let drawn = {};
let level = remembered("level", ["lines", "words", "characters"]);
let threshold = remembered("threshold", THRESHOLDS);
let theme = remembered("theme", Object.keys(THEMES));
let language = remembered("language", [preferredLanguage(), ...LANGUAGES]);

const queue = new Queue(changed, () => service);
const picture = new Picture(byId("stage"), {
  point: (line, part) => {
    point(line, part);
    lines.reveal(line);
  },
  choose: (line) => lines.focus(line),
  zoomed: showScale,
});
const lines = new Lines(byId("lines"), {
  point: (line, part) => {
    point(line, part);
    picture.reveal(line);
  },
  choose: chooseLine,
  copy: (line) => copyText(shownPage().lines[line].text),
  leave: () => chooseLine(null),
  turn,
});

// Files.

function add(files) {
  const isFirst = current === null;
  const added = queue.add(files);
  if (!added.length) {
    return;
  }
  show(added[0]);
  if (isFirst) {
    byId("main").focus({ preventScroll: true });
  }
}

function changed(entry) {
  render();
  const { file, state, pages } = entry;
  if (state === "done") {
    tell(t("done", { name: file.name, count: pages.flatMap((page) => page.lines ?? []).length }));
  } else if (entry.problem) {
    tell(`${file.name}: ${problemText(entry.problem)}`);
  }
}

function show(entry) {
  current = entry;
  render();
}

function remove(entry) {
  const place = queue.entries.indexOf(entry);
  const left = queue.entries.filter((other) => other !== entry);
  current = entry === current ? (left[place] ?? left[place - 1] ?? null) : current;
  queue.remove(entry);
  render();
  (byId("documents").querySelector("[aria-current]") ?? byId("choose")).focus();
}

function startOver() {
  current = null;
  [...queue.entries].forEach((entry) => queue.remove(entry));
  render();
  byId("choose").focus();
}

async function watchService() {
  for (;;) {
    service = await readiness();
    renderService();
    await pause(LOOK_MS[service.status] ?? LOOK_MS.otherwise);
  }
}

// Showing.

function render() {
  byId("start").hidden = current !== null;
  byId("work").hidden = current === null;
  showDocuments(queue.entries, current, { show, remove });
  if (current) {
    const on = { cancel: (entry) => queue.cancel(entry), again: (entry) => queue.again(entry) };
    showCard(current, service, on);
    showStrip(current, on);
  }
  renderPage();
}

function renderService() {
  const { status, detail } = service;
  const key = `service${capitalized(status)}`;
  const place = byId("service");
  const said = hasText(key) ? t(key) : status;
  place.dataset.state = status;
  place.title = detail ?? "";
  if (place.lastElementChild.textContent !== said) {
    place.lastElementChild.textContent = said;
    render();
  }
}

function shownPage() {
  return current?.pages[current.shown];
}

function renderPage() {
  const page = shownPage();
  byId("panes").hidden = !page;
  if (!page) {
    drawn = {};
    return;
  }
  const place = { page: current.shown + 1, count: current.count };
  byId("pager").hidden = current.count === 1;
  byId("page-number").textContent = t("pageOf", place);
  byId("page-number").title = t("pageSaid", place);
  byId("previous").disabled = current.shown === 0;
  byId("next").disabled = current.shown + 1 >= current.pages.length;
  const wanted = { page, level, threshold, language };
  if (Object.entries(wanted).some(([name, value]) => drawn[name] !== value)) {
    drawn = wanted;
    drawPage(page);
  }
}

function drawPage(page) {
  chosen = null;
  picture.show(page, level, threshold / 100);
  lines.show(page, level, threshold / 100, page.error ? problemText(page.error) : t("noText"));
  const doubts = doubtful().length;
  byId("count").textContent = t("lines", { count: page.lines?.length ?? 0 });
  byId("doubts").textContent = t("doubts", { count: doubts });
  byId("doubts").title = t("doubtsLabel");
  byId("doubts").hidden = doubts === 0;
}

/** Indices of the lines to check. */
function doubtful() {
  const all = shownPage().lines ?? [];
  return [...all.keys()].filter((index) => isDoubtful(all[index], threshold / 100));
}

function showScale(scale, isFit) {
  byId("full").textContent = `${Math.round(100 * scale)}%`;
  byId("fit").setAttribute("aria-pressed", String(isFit));
}

// Lines and boxes.

function point(line, part) {
  picture.point(line, part);
  lines.point(line, part);
}

/** A line has the focus; null: none. */
function chooseLine(line) {
  chosen = line;
  lines.choose(line);
  picture.choose(line);
}

function nextDoubt() {
  const found = doubtful();
  lines.focus(found.find((line) => line > (chosen ?? -1)) ?? found[0]);
}

function turn(step) {
  const shown = current.shown + step;
  if (!current.pages[shown]) {
    return;
  }
  const isInLines = byId("lines").contains(document.activeElement);
  current.shown = shown;
  render();
  tell(byId("page-number").title);
  if (isInLines) {
    (byId("lines").querySelector("[tabindex='0']") ?? byId("stage")).focus();
  }
}

async function copyText(text) {
  say(t((await copy(text)) ? "copied" : "copyFailed"));
}

async function save(form) {
  const abort = new AbortController();
  say(t("preparing", current.file), { label: t("cancel"), run: () => abort.abort() });
  try {
    await download(form, current, abort.signal);
    say("");
  } catch (problem) {
    if (!abort.signal.aborted && !(problem instanceof Problem)) {
      throw problem;
    }
    const close = { label: t("close"), run: () => say("") };
    say(abort.signal.aborted ? "" : problemText(problem), abort.signal.aborted ? null : close);
  }
}

// Choices.

function capitalized(word) {
  return word[0].toUpperCase() + word.slice(1);
}

function applyTheme() {
  const label = t(`theme${capitalized(theme)}`);
  byId("dark").media = THEMES[theme];
  byId("theme").title = label;
  byId("theme").setAttribute("aria-label", label);
  byId("theme").querySelector("use").setAttribute("href", `#i-${theme}`);
}

function applyLanguage() {
  setLanguage(language);
  byId("language").setAttribute("aria-label", t("languageLabel"));
  byId("language").lang = language === "zh" ? "en" : "zh-CN";
  applyTheme();
  renderService();
  render();
}

function applyThreshold() {
  byId("threshold").value = threshold;
  byId("threshold-value").textContent = `${threshold}%`;
  render();
}

// Events.

const clicks = {
  choose: () => byId("files").click(),
  add: () => byId("files").click(),
  previous: () => turn(-1),
  next: () => turn(1),
  smaller: () => picture.smaller(),
  larger: () => picture.larger(),
  full: () => picture.zoom(1),
  fit: () => picture.fit(),
  doubts: nextDoubt,
  "copy-all": () => copyText(textOf(current.pages, "\n\n")),
  language: () => {
    language = language === "zh" ? "en" : "zh";
    remember("language", language);
    applyLanguage();
  },
  theme: () => {
    const names = Object.keys(THEMES);
    theme = names[(names.indexOf(theme) + 1) % names.length];
    remember("theme", theme);
    applyTheme();
  },
};

for (const [id, run] of Object.entries(clicks)) {
  byId(id).addEventListener("click", run);
}

byId("home").addEventListener("click", (event) => {
  event.preventDefault();
  startOver();
});

byId("files").addEventListener("change", ({ target }) => {
  add(target.files);
  target.value = ""; // the same file may be chosen again
});

byId("menu").addEventListener("click", ({ target }) => {
  const { form } = target.closest("button")?.dataset ?? {};
  if (form) {
    byId("menu").open = false;
    save(form);
  }
});

byId("key").addEventListener("input", ({ target }) => {
  target.setCustomValidity(isKey(target.value.trim()) ? "" : t("keyForm"));
});

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setApiKey(byId("key").value.trim());
  byId("key").value = "";
  queue.unlock();
});

for (const radio of document.querySelectorAll("[name=level]")) {
  radio.checked = radio.value === level;
  radio.addEventListener("change", () => {
    level = radio.value;
    remember("level", level);
    render();
  });
}

byId("threshold").addEventListener("input", ({ target }) => {
  threshold = target.value;
  remember("threshold", threshold);
  applyThreshold();
});

const stageKeys = {
  "+": () => picture.larger(),
  "=": () => picture.larger(),
  "-": () => picture.smaller(),
  0: () => picture.fit(),
  PageDown: () => turn(1),
  PageUp: () => turn(-1),
};

byId("stage").addEventListener("keydown", (event) => {
  if (event.key in stageKeys && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    stageKeys[event.key]();
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) {
    return;
  }
  if (byId("menu").open) {
    byId("menu").open = false;
    byId("menu").firstElementChild.focus();
  } else if (current?.state === "reading") {
    queue.cancel(current);
  }
});

document.addEventListener("click", ({ target }) => {
  if (!byId("menu").contains(target)) {
    byId("menu").open = false;
  }
});

document.addEventListener("paste", ({ clipboardData }) => add(clipboardData.files));

document.addEventListener("dragover", (event) => {
  if (event.dataTransfer.types.includes("Files")) {
    event.preventDefault();
    document.body.classList.add("dropping");
  }
});

document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (relatedTarget === null) {
    document.body.classList.remove("dropping");
  }
});

document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  add(event.dataTransfer.files);
});

applyThreshold();
applyLanguage();
byId("app").hidden = false;
watchService();
