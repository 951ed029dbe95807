// The picture of a page with its boxes, and how large it is shown.

import { makeSvg, onPointer, reveal } from "./dom.js";
import { boxes } from "./page.js";

const STEP = 1.25;
const SMALLEST = 0.1;
const LARGEST = 8;
const LARGEST_FIT = 2;
const PICTURE_TYPES = ["image/jpeg", "image/png", "image/webp"];

/**
 * @param pane the element that scrolls, with .sheet > img + svg inside.
 * @param on {point(line, part), choose(line), zoomed(scale, isFit)}: called with what the pointer
 *   is over (null: nothing), what was clicked, and how large the picture is now.
 */
export class Picture {
  #pane;
  #sheet;
  #image;
  #overlay;
  #on;
  #page = null;
  #scale = null; // null: as wide as the pane

  constructor(pane, on) {
    this.#pane = pane;
    this.#sheet = pane.querySelector(".sheet");
    this.#image = pane.querySelector("img");
    this.#overlay = pane.querySelector("svg");
    this.#on = on;
    onPointer(this.#overlay, (target) => this.#pointAt(target));
    this.#overlay.addEventListener("pointerleave", () => on.point(null, null));
    this.#overlay.addEventListener("click", ({ target }) => {
      if (target.dataset.line) {
        on.choose(Number(target.dataset.line));
      }
    });
    pane.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    new ResizeObserver(() => this.#resize()).observe(pane);
  }

  /** Show a page of an answer; boxes of "lines", "words" or "characters". */
  show(page, level, threshold) {
    if (this.#page !== page) {
      this.#page = page;
      this.#pane.scrollTo(0, 0);
      this.#sheet.hidden = !page.picture;
      this.#image.src = source(page.picture);
      this.#overlay.setAttribute("viewBox", `0 0 ${page.width ?? 1} ${page.height ?? 1}`);
    }
    this.#overlay.replaceChildren(
      ...boxes(page, level).map((box) => {
        const polygon = makeSvg("polygon", {
          points: box.points.map((point) => point.join(",")).join(" "),
          "data-line": box.line,
          "data-part": box.part ?? "",
        });
        polygon.classList.toggle("doubtful", box.confidence < threshold);
        return polygon;
      }),
    );
    this.#resize();
  }

  point(line, part) {
    this.#mark("pointed", line, part);
  }

  choose(line) {
    this.#mark("chosen", line, null);
    this.reveal(line);
  }

  reveal(line) {
    const first = this.#overlay.querySelector(`[data-line="${line}"]`);
    if (first) {
      reveal(this.#pane, first);
    }
  }

  fit() {
    this.#scale = null;
    this.#resize();
  }

  zoom(scale) {
    if (this.#page?.width) {
      this.#zoomAt(scale, this.#pane.clientWidth / 2, this.#pane.clientHeight / 2);
    }
  }

  larger() {
    this.zoom(this.#shown() * STEP);
  }

  smaller() {
    this.zoom(this.#shown() / STEP);
  }

  #pointAt({ dataset }) {
    const part = dataset.part ? Number(dataset.part) : null;
    this.#on.point(dataset.line ? Number(dataset.line) : null, part);
  }

  #mark(name, line, part) {
    for (const polygon of this.#overlay.children) {
      const { dataset } = polygon;
      const same = Number(dataset.line) === line && line !== null;
      const whole = part === null || dataset.part === "";
      polygon.classList.toggle(name, same && (whole || Number(dataset.part) === part));
    }
  }

  #onWheel(event) {
    if (!event.ctrlKey || !this.#page?.width) {
      return;
    }
    event.preventDefault();
    const frame = this.#pane.getBoundingClientRect();
    const scale = this.#shown() * STEP ** (-event.deltaY / 100);
    this.#zoomAt(scale, event.clientX - frame.left, event.clientY - frame.top);
  }

  /** What is seen at (x, y) px of the pane stays there. */
  #zoomAt(scale, x, y) {
    const before = this.#shown();
    this.#scale = Math.min(Math.max(scale, SMALLEST), LARGEST);
    const pane = this.#pane;
    const [left, top] = [pane.scrollLeft + x, pane.scrollTop + y];
    this.#resize();
    const grown = this.#shown() / before;
    pane.scrollTo({ left: left * grown - x, top: top * grown - y, behavior: "auto" });
  }

  #shown() {
    const { paddingLeft, paddingRight } = getComputedStyle(this.#pane);
    const room = this.#pane.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
    return this.#scale ?? Math.min(room / this.#page.width, LARGEST_FIT);
  }

  #resize() {
    if (!this.#page?.width || !this.#pane.clientWidth) {
      return;
    }
    const scale = this.#shown();
    this.#sheet.style.width = `${this.#page.width * scale}px`;
    this.#sheet.style.height = `${this.#page.height * scale}px`;
    this.#on.zoomed(scale, this.#scale === null);
  }
}

/** The picture of an answer as an address; empty where it is none that a browser shows. */
function source(picture) {
  const isShown = PICTURE_TYPES.includes(picture?.media_type);
  return isShown ? `data:${picture.media_type};base64,${picture.data}` : "";
}
