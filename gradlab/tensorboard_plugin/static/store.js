// The state of the page, and who wants to know when it changes.

const KEY = "gradlab";

/**
 * @typedef {{
 *   runs: Record<string, import("./api.js").Tags>,  what the server has
 *   run: string,                                     the run that is looked at
 *   compared: string[],                              further runs, for panels that show several
 *   panel: string,
 *   steps: number[],                                 the steps of the slider
 *   step: number,
 *   playing: boolean,
 *   selected: {kind: "operation" | "value" | "module", name: string} | null,
 * }} State
 */

export class Store {
  /** @type {State} */
  #state = { runs: {}, run: "", compared: [], panel: "graph", steps: [], step: 0, playing: false, selected: null };
  #listeners = new Set();

  constructor() {
    try {
      const { run, panel, compared } = JSON.parse(localStorage.getItem(KEY) ?? "{}");
      Object.assign(this.#state, { run: run ?? "", panel: panel ?? "graph", compared: compared ?? [] });
    } catch {
      // storage is forbidden or damaged: begin afresh
    }
  }

  /** @returns {Readonly<State>} */
  get state() {
    return this.#state;
  }

  /** The tags of the run that is looked at. */
  get tags() {
    return this.#state.runs[this.#state.run] ?? {};
  }

  /**
   * Changes some of the state; listeners get what changed.
   * @param {Partial<State>} change
   */
  set(change) {
    const news = Object.keys(change).filter((key) => this.#state[key] !== change[key]);
    if (!news.length) return;
    this.#state = { ...this.#state, ...change };
    const { run, panel, compared } = this.#state;
    try {
      localStorage.setItem(KEY, JSON.stringify({ run, panel, compared }));
    } catch {
      // nothing is remembered then
    }
    for (const listener of [...this.#listeners]) listener(new Set(news));
  }

  /**
   * Calls a listener at every change.
   * @param {(changed: Set<string>) => void} listener
   * @returns {() => void} stops it
   */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
