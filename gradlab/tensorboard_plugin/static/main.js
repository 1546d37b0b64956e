// The Gradlab tab: a bar with the run, the panels and the steps, and below it one panel at a time.

import { fetchRuns, Reader } from "./api.js";
import { controls } from "./controls.js";
import { h, notice, refill } from "./dom.js";
import { agreement } from "./panels/agreement.js";
import { flow } from "./panels/flow.js";
import { graph } from "./panels/graph.js";
import { partials } from "./panels/partials.js";
import { surface } from "./panels/surface.js";
import { Store } from "./store.js";
import { followTheme } from "./theme.js";

/**
 * A panel, as its module exports it.
 * @typedef {{
 *   id: string,
 *   title: string,
 *   has: (tags: import("./api.js").Tags) => boolean,      whether a run has what it draws
 *   lacks: string,                                         what to say of a run that has not
 *   mount: (root: HTMLElement, store: Store, reader: Reader) => Promise<Mounted>,
 * }} Panel
 *
 * What is drawn of a panel.
 * @typedef {{
 *   steps: number[],                                       the steps that it can show
 *   update: (changed: Set<string>) => void | Promise<void>,
 *   reload: () => Promise<Mounted | void>,                 the run has more data: read it, and adjust `steps`
 *   destroy?: () => void,
 * }} Mounted
 */

/** @type {Panel[]} */
const PANELS = [graph, flow, agreement, surface, partials];
const PAUSE = 5000; // milliseconds between two looks for news

/** TensorBoard calls it once, when the tab is opened. */
export async function render() {
  document.head.append(h("link", { rel: "stylesheet", href: new URL("style.css", import.meta.url) }));
  document.title = "Gradlab";
  followTheme();
  const store = new Store();
  const page = new Page(store);
  document.body.append(page.element);
  await page.look();
  if (window.frameElement) window.frameElement.reload = () => page.look();
  setInterval(() => document.visibilityState === "visible" && page.look(), PAUSE);
}

class Page {
  #store;
  #reader = new Reader();
  #stage = h("main", { id: "stage", tabindex: "-1" });
  #banner = h("div", { id: "banner" });
  /** @type {Mounted | null} */
  #mounted = null;
  #shown = "";
  #turn = 0;

  constructor(store) {
    this.#store = store;
    const bar = controls(store, PANELS);
    this.element = h("div", { id: "page" }, bar, this.#banner, this.#stage);
    store.listen((changed) => this.#react(changed));
  }

  /** Asks the server what there is. */
  async look() {
    try {
      const runs = await fetchRuns();
      refill(this.#banner);
      if (JSON.stringify(runs) === JSON.stringify(this.#store.state.runs)) {
        if (!Object.keys(runs).length) refill(this.#stage, notice(NO_RUNS));
        return;
      }
      const known = this.#store.state.run in runs ? this.#store.state.run : latest(runs);
      this.#store.set({ runs, run: known, compared: this.#store.state.compared.filter((run) => run in runs) });
    } catch (error) {
      refill(this.#banner, notice(`The data could not be read (${error.message}). Trying again.`, "error"));
    }
  }

  async #react(changed) {
    const { run, panel } = this.#store.state;
    const place = `${panel} ${run}`;
    if (changed.has("panel") || changed.has("run") || (changed.has("runs") && this.#shown !== place))
      await this.#show();
    else if (changed.has("runs")) await this.#guarded(() => this.#reload());
    else if (this.#mounted) await this.#guarded(() => this.#mounted?.update(changed));
  }

  async #show() {
    const turn = ++this.#turn; // of two clicks in a row, the later one counts
    const { run, panel, runs } = this.#store.state;
    this.#mounted?.destroy?.();
    this.#mounted = null;
    this.#shown = `${panel} ${run}`;
    if (!run) return this.#say(Object.keys(runs).length ? "Choose a run." : NO_RUNS);
    const chosen = PANELS.find((each) => each.id === panel) ?? PANELS[0];
    if (!chosen.has(this.#store.tags)) {
      this.#shown = ""; // it may come
      return this.#say(chosen.lacks);
    }
    const root = h("section", { class: `panel ${chosen.id}`, "aria-label": chosen.title });
    refill(this.#stage, notice("Reading …"));
    await this.#guarded(async () => {
      const mounted = await chosen.mount(root, this.#store, this.#reader);
      if (turn !== this.#turn) return mounted.destroy?.();
      this.#mounted = mounted;
      refill(this.#stage, root);
      this.#take(mounted.steps, false);
    });
  }

  async #reload() {
    if (!this.#mounted) return;
    const { steps, step } = this.#store.state;
    const follows = step === steps.at(-1);
    await this.#mounted.reload();
    this.#take(this.#mounted.steps, follows);
  }

  /** The slider gets the panel's steps, and stays where it is, or at the end where the run goes on. */
  #take(steps, follows) {
    const { step } = this.#store.state;
    const last = steps.at(-1) ?? 0;
    const kept = steps.includes(step) ? step : (steps.findLast((each) => each <= step) ?? steps[0] ?? 0);
    this.#store.set({ steps, step: follows ? last : kept });
    this.#mounted?.update(new Set(["step", "steps"]));
  }

  async #guarded(work) {
    try {
      await work();
    } catch (error) {
      console.warn("gradlab:", error);
      this.#mounted?.destroy?.();
      this.#mounted = null;
      this.#say(`This run cannot be shown here: ${error.message}`, "error");
    }
  }

  /** A message in place of a panel; it has no steps. */
  #say(text, kind) {
    refill(this.#stage, notice(text, kind));
    this.#store.set({ steps: [], playing: false });
  }
}

const NO_RUNS =
  "No run of gradlab's here yet. `python -m gradlab` makes one, GradientLabCallback() or gradlab.watch(…) any other.";

function latest(runs) {
  const time = (tags) => Math.max(0, ...Object.values(tags).map((info) => info.time));
  return Object.keys(runs).sort((a, b) => time(runs[b]) - time(runs[a]))[0] ?? "";
}
