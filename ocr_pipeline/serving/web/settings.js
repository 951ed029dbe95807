// What the page remembers: choices in localStorage, the API key in sessionStorage, no contents.

const PREFIX = "ocr.";
const KEY = `${PREFIX}key`;

/** A remembered choice; the first one where none, or one that is not allowed, is remembered. */
export function remembered(name, allowed) {
  const found = read(() => localStorage, PREFIX + name);
  return allowed.includes(found) ? found : allowed[0];
}

export function remember(name, value) {
  write(() => localStorage, PREFIX + name, value);
}

/** Has a key this form: visible ASCII? What no header can carry makes fetch throw. */
export const isKey = (value) => /^[!-~]+$/.test(value);

const stored = read(() => sessionStorage, KEY) ?? "";
let key = isKey(stored) ? stored : "";

export function apiKey() {
  return key;
}

export function setApiKey(value) {
  key = value;
  write(() => sessionStorage, KEY, value);
}

// Either storage may be switched off; the very look at it throws then.
function read(storage, name) {
  try {
    return storage().getItem(name);
  } catch {
    return null;
  }
}

function write(storage, name, value) {
  try {
    storage().setItem(name, value);
  } catch {
    // The choice lasts as long as the page.
  }
}
