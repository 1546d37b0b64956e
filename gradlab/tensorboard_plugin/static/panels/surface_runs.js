// Other runs over the same surface, to be drawn beside the present one.

import { h, refill } from "../dom.js";
import { hasWay, isSame, readLandscape, readMinimizers, readWay, sameMinimizers } from "./surface_data.js";

const MOST = 100; // runs whose minimizers are looked at beforehand

/** Checkboxes for other runs, and the ways of those that are chosen. */
export class Others {
  #store;
  #reader;
  #list = h("div", { class: "runs", role: "group", "aria-label": "runs to compare with" });
  element = h("details", { class: "others", open: true }, h("summary", {}, "Other runs over this surface"), this.#list);

  constructor(store, reader) {
    this.#store = store;
    this.#reader = reader;
  }

  /**
   * The ways of the chosen runs, as far as they go over this surface.
   * @returns {Promise<import("./surface_data.js").Way[]>}
   */
  async read(run, landscape) {
    const { runs } = this.#store.state;
    const candidates = landscape ? Object.keys(runs).filter((each) => each !== run && isCandidate(runs[each])) : [];
    const likely = await this.#likely(candidates, landscape);
    const chosen = this.#store.state.compared.filter((each) => likely.includes(each));
    const results = await Promise.all(chosen.map((each) => this.#read(each, landscape)));
    this.#draw(likely, new Map(chosen.map((each, i) => [each, results[i].trouble])));
    return results.map((each) => each.way).filter(Boolean);
  }

  async #likely(candidates, landscape) {
    const { runs } = this.#store.state;
    const fits = await Promise.all(
      candidates.map(async (run, i) => {
        if (i >= MOST) return true;
        try {
          return sameMinimizers(await readMinimizers(this.#reader, run, runs[run]), landscape.minimizers);
        } catch {
          return false;
        }
      }),
    );
    return candidates.filter((_, i) => fits[i]);
  }

  async #read(run, landscape) {
    const tags = this.#store.state.runs[run];
    try {
      const other = await readLandscape(this.#reader, run, tags);
      if (!isSame(landscape, other)) return { trouble: "goes over another surface" };
      return { way: await readWay(this.#reader, run, tags) };
    } catch (error) {
      return { trouble: error.message };
    }
  }

  #draw(likely, troubles) {
    const { compared } = this.#store.state;
    const rows = likely.map((run) => {
      const box = h("input", {
        type: "checkbox",
        checked: compared.includes(run),
        onchange: () => this.#toggle(run, box.checked),
      });
      const trouble = troubles.get(run);
      return h("label", {}, box, ` ${run}`, trouble ? h("span", { class: "disagree" }, ` (${trouble})`) : null);
    });
    const held = this.#list.querySelector(":focus")?.closest("label")?.dataset.run;
    for (const [i, row] of rows.entries()) row.dataset.run = likely[i];
    refill(this.#list, rows.length ? rows : h("p", { class: "soft" }, "There is none in this folder."));
    const again = rows.find((row) => row.dataset.run === held);
    again?.querySelector("input").focus(); // whoever ticks by keyboard stays where they are
  }

  #toggle(run, isChosen) {
    const without = this.#store.state.compared.filter((each) => each !== run);
    this.#store.set({ compared: isChosen ? [...without, run] : without });
  }
}

function isCandidate(tags) {
  return hasWay(tags) && "surface/z" in tags;
}
