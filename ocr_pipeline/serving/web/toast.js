// Short words at the foot of the page, read out by screen readers.

import { byId } from "./dom.js";

const SHOWN_MS = 2_500;

let timer = 0;

/** Say something; with an action {label, run} it stays until something else is said. */
export function say(text, action = null) {
  const [said, button] = byId("toast").children;
  clearTimeout(timer);
  said.textContent = text;
  byId("toast").classList.toggle("shown", text !== "");
  button.hidden = action === null;
  button.textContent = action?.label ?? "";
  button.onclick = action?.run ?? null;
  if (!action) {
    timer = setTimeout(() => byId("toast").classList.remove("shown"), SHOWN_MS);
  }
}

/** Say something to screen readers only. */
export function tell(text) {
  byId("told").textContent = text;
}
