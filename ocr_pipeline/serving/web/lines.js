// The text of a page: a list box of its lines, in rows.

import { make, onPointer, reveal } from "./dom.js";
import { percent, pieces, rows } from "./page.js";
import { t } from "./text.js";

/**
 * @param pane the element that scrolls and becomes the list box.
 * @param on {point(line, part), choose(line), copy(line), leave(), turn(step)}: what the pointer is
 *   over (null: nothing); the line that has the focus now; the line to copy; Escape; pages to go.
 */
export class Lines {
  #pane;
  #on;
  #options = [];
  #chosen = null;

  constructor(pane, on) {
    this.#pane = pane;
    this.#on = on;
    onPointer(pane, (target) => {
      const option = target.closest("[role=option]");
      const part = target.closest("[data-part]");
      on.point(option ? this.#options.indexOf(option) : null, part && Number(part.dataset.part));
    });
    pane.addEventListener("pointerleave", () => on.point(null, null));
    pane.addEventListener("focusin", ({ target }) => {
      const index = this.#options.indexOf(target);
      if (index >= 0 && index !== this.#chosen) {
        on.choose(index);
      }
    });
    pane.addEventListener("click", ({ target }) => {
      const option = target.closest("[role=option]");
      if (option && !getSelection().toString()) {
        on.copy(this.#options.indexOf(option));
      }
    });
    pane.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** Show a page of an answer; `otherwise` is said of one without lines. */
  show(page, level, threshold, otherwise) {
    this.#chosen = null;
    this.#options = (page.lines ?? []).map((line) => lineElement(line, level, threshold));
    const grouped = rows(page).map((row) =>
      make("div", { class: "row" }, ...row.map((index) => this.#options[index])),
    );
    if (this.#options.length) {
      this.#options[0].tabIndex = 0;
      this.#pane.setAttribute("role", "listbox");
      this.#pane.replaceChildren(...grouped);
    } else {
      this.#pane.removeAttribute("role");
      this.#pane.replaceChildren(make("p", { class: "none" }, otherwise));
    }
    this.#pane.scrollTo(0, 0);
  }

  point(line, part) {
    for (const [index, option] of this.#options.entries()) {
      option.classList.toggle("pointed", index === line);
      for (const piece of option.querySelectorAll("[data-part]")) {
        const same = index === line && part !== null && Number(piece.dataset.part) === part;
        piece.classList.toggle("pointed", same);
      }
    }
  }

  /** Mark a line as the chosen one; null: none. */
  choose(line) {
    this.#chosen = line;
    for (const [index, option] of this.#options.entries()) {
      option.setAttribute("aria-selected", String(index === line));
      option.tabIndex = index === (line ?? 0) ? 0 : -1;
    }
  }

  /** Give a line the focus; where the pane shows all its lines, the page itself scrolls to it. */
  focus(line) {
    this.#options[line].focus({ preventScroll: true });
    this.#options[line].scrollIntoView({ block: "nearest" });
    this.reveal(line);
  }

  reveal(line) {
    if (line !== null) {
      reveal(this.#pane, this.#options[line]);
    }
  }

  #onKey(event) {
    const index = this.#options.indexOf(event.target);
    if (index < 0 || event.ctrlKey || event.altKey || event.metaKey) {
      return;
    }
    const last = this.#options.length - 1;
    const lines = {
      ArrowDown: index + 1,
      ArrowRight: index + 1,
      ArrowUp: index - 1,
      ArrowLeft: index - 1,
      Home: 0,
      End: last,
    };
    if (event.key in lines) {
      this.focus(Math.min(Math.max(lines[event.key], 0), last));
    } else if (event.key === "Enter" || event.key === " ") {
      this.#on.copy(index);
    } else if (event.key === "PageDown" || event.key === "PageUp") {
      this.#on.turn(event.key === "PageDown" ? 1 : -1);
    } else if (event.key === "Escape") {
      event.target.blur();
      this.#on.leave();
    } else {
      return;
    }
    event.preventDefault();
  }
}

function lineElement(line, level, threshold) {
  const said = make("span", { class: "said" });
  for (const { text, confidence, part } of pieces(line, level)) {
    if (part === null || (level === "lines" && confidence >= threshold)) {
      said.append(text);
      continue;
    }
    const piece = make("span", level === "lines" ? {} : { "data-part": part }, text);
    piece.classList.toggle("doubtful", confidence < threshold);
    said.append(piece);
  }
  said.normalize();
  const option = make("div", { role: "option", tabindex: "-1", "aria-selected": "false" }, said);
  option.title = t("confidence", { percent: percent(line.confidence) });
  if (line.confidence < threshold) {
    option.classList.add("doubtful");
    const figure = `${percent(line.confidence)}%`;
    option.append(make("span", { class: "figure", "aria-label": option.title }, figure));
  }
  return option;
}
