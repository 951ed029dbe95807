// Files that wait, are read and were read, one after another.

import { Problem, pause, readPages } from "./api.js";

const LOOK_MS = 100;

/**
 * A file: {file, state, pages, count, problem, isBusy, shown}. `state`: waiting, reading, done,
 * cancelled, failed, or locked (the service wants a key). `count`: pages it has; null: not known.
 * `shown`: index of the page that is looked at.
 */
export class Queue {
  entries = [];
  #changed;
  #service;
  #isWorking = false;

  /**
   * @param changed called after each change, with the entry.
   * @param service gives {status, detail}; while it is "loading", nothing is sent.
   */
  constructor(changed, service) {
    this.#changed = changed;
    this.#service = service;
  }

  /** Read files; gives their entries. */
  add(files) {
    const fresh = { state: "waiting", count: null, shown: 0 };
    const added = [...files].map((file) => ({ ...fresh, file, pages: [] }));
    this.entries.push(...added);
    this.#work();
    return added;
  }

  cancel(entry) {
    if (entry.state === "waiting") {
      this.#set(entry, { state: "cancelled" });
    }
    entry.abort?.abort();
  }

  again(entry) {
    this.#set(entry, { state: "waiting", pages: [], problem: null });
    this.#work();
  }

  remove(entry) {
    this.entries.splice(this.entries.indexOf(entry), 1);
    this.cancel(entry);
    this.#work(); // it may have been the one that wanted a key
  }

  /** Read what the service refused without a key. */
  unlock() {
    this.entries.filter(({ state }) => state === "locked").forEach((entry) => this.again(entry));
  }

  async #work() {
    if (this.#isWorking) {
      return;
    }
    this.#isWorking = true;
    const isLocked = () => this.entries.some(({ state }) => state === "locked");
    const next = () => this.entries.find(({ state }) => state === "waiting");
    for (let entry = next(); entry && !isLocked(); entry = next()) {
      await this.#read(entry);
    }
    this.#isWorking = false;
  }

  async #read(entry) {
    entry.abort = new AbortController();
    const { signal } = entry.abort;
    this.#set(entry, { state: "reading", pages: [], count: null, problem: null, shown: 0 });
    try {
      await this.#loaded(signal);
      const onBusy = () => this.#set(entry, { isBusy: true });
      for await (const page of readPages(entry.file, signal, onBusy)) {
        signal.throwIfAborted();
        entry.pages.push(page);
        const count = Math.max(page.page_count ?? 0, entry.count ?? 0, entry.pages.length);
        this.#set(entry, { count, isBusy: false });
      }
      if (entry.pages.length < (entry.count ?? 1)) {
        throw new Problem(); // the answer was cut off between two pages, or before the first
      }
      this.#set(entry, { state: "done" });
    } catch (problem) {
      this.#settle(entry, problem, signal);
    }
  }

  #settle(entry, problem, signal) {
    if (signal.aborted) {
      this.#set(entry, { state: "cancelled", isBusy: false });
      return;
    }
    const isKnown = problem instanceof Problem;
    const state = problem.status === 401 ? "locked" : "failed";
    this.#set(entry, { state, problem: isKnown ? problem : new Problem(), isBusy: false });
    if (!isKnown) {
      console.error(problem);
    }
  }

  async #loaded(signal) {
    while (this.#service().status === "loading") {
      await pause(LOOK_MS, signal);
    }
    const { status, detail } = this.#service();
    if (status === "failed") {
      throw new Problem({ status: 503, detail, key: "problem500" });
    }
  }

  #set(entry, values) {
    Object.assign(entry, values);
    this.#changed(entry);
  }
}
