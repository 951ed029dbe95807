// The little that is needed to build a page.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; a child that is a string is text, never markup. */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function makeSvg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** One of the pictures that index.html defines. */
export function icon(name) {
  return makeSvg("svg", { "aria-hidden": "true" }, makeSvg("use", { href: `#i-${name}` }));
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Call `run` with each element that the pointer moves onto; not with what scrolls under it. */
export function onPointer(pane, run) {
  let place = "";
  const placeOf = ({ clientX, clientY }) => `${clientX} ${clientY}`;
  pane.addEventListener("pointerover", (event) => {
    if (placeOf(event) !== place) {
      run(event.target);
    }
  });
  pane.addEventListener("pointermove", (event) => {
    place = placeOf(event);
  });
}

/** Scroll one pane, and nothing around it, until the element is in sight. */
export function reveal(pane, element) {
  if (pane.scrollHeight <= pane.clientHeight && pane.scrollWidth <= pane.clientWidth) {
    return;
  }
  const [frame, place] = [pane.getBoundingClientRect(), element.getBoundingClientRect()];
  pane.scrollBy({
    left: outside(place.left, place.right, frame.left, frame.right),
    top: outside(place.top, place.bottom, frame.top, frame.bottom),
    behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
  });
}

const MARGIN = 24;

/** How far a pane that shows low..high is to be moved to show start..end, its start above all. */
function outside(start, end, low, high) {
  if (start < low + MARGIN) {
    return start - low - MARGIN;
  }
  return end > high - MARGIN ? Math.min(end - high + MARGIN, start - low - MARGIN) : 0;
}
