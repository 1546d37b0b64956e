// Surface: the landscape of a loss over two coordinates, and the ways that runs take over it.

import { h, refill } from "../dom.js";
import { number } from "../format.js";
import { onTheme } from "../theme.js";
import { Contour } from "./surface_contour.js";
import { hasWay, readLandscape, readWay, smoothHeight, standing } from "./surface_data.js";
import { Readings } from "./surface_readings.js";
import { Others } from "./surface_runs.js";
import { hasWebGL, readPlotly, Space } from "./surface_space.js";
import { viewOf } from "./surface_view.js";

const KEY = "gradlab.surface";

/** @type {import("../main.js").Panel} */
export const surface = {
  id: "surface",
  title: "Surface",
  lacks:
    "This run has no path over a surface: only the descent of a point has, such as `python -m gradlab experiment=himmelblau`.",
  has: hasWay,
  async mount(root, store, reader) {
    const picture = new Picture(root, store, reader);
    await picture.read();
    return picture;
  },
};

class Picture {
  #store;
  #reader;
  #landscape = null;
  /** @type {import("./surface_data.js").Way[]} */
  #ways = [];
  #view = null;
  #space = null;
  #isWhole = false;
  #isDeep = localStorage.getItem(KEY) === "3-D";
  #stop = [];
  #turn = 0;
  #stage = h("div", { class: "picture" });
  #message = h("p", { class: "soft message", role: "status" });
  #under = h("p", { class: "soft under" });
  #contour = new Contour((point) => this.#point(point));
  #readings = new Readings();

  constructor(root, store, reader) {
    this.#store = store;
    this.#reader = reader;
    this.others = new Others(store, reader);
    this.#stage.append(this.#contour.element);
    refill(root, h("div", { class: "left" }, this.#buttons(), this.#message, this.#stage, this.#under), this.#aside());
    const observer = new ResizeObserver(() => this.#fit());
    observer.observe(this.#stage);
    this.#stop = [() => observer.disconnect(), onTheme(() => this.#redraw())];
  }

  /** The steps of all ways that are shown. */
  get steps() {
    return [...new Set(this.#ways.flatMap((way) => way.steps))].sort((a, b) => a - b);
  }

  async read() {
    const turn = ++this.#turn;
    const { run, runs } = this.#store.state;
    const [landscape, way] = await Promise.all([
      readLandscape(this.#reader, run, runs[run]),
      readWay(this.#reader, run, runs[run]),
    ]);
    const further = await this.others.read(run, landscape);
    if (turn !== this.#turn) return; // asked again meanwhile
    this.#landscape = landscape;
    this.#ways = [way, ...further];
    if (this.#isDeep) await this.#deepen();
    this.#redraw();
  }

  async reload() {
    await this.read();
  }

  async update(changed) {
    if (changed.has("compared")) {
      await this.read();
      this.#store.set({ steps: this.steps });
    } else if (changed.has("step")) this.#move();
  }

  destroy() {
    for (const stop of this.#stop) stop();
    this.#space?.destroy();
  }

  #buttons() {
    const choose = (isDeep) => () => this.#choose(isDeep);
    this.flat = h("button", { type: "button", onclick: choose(false) }, "from above");
    this.deep = h("button", { type: "button", onclick: choose(true) }, "in 3-D");
    const whole = h("input", { type: "checkbox", onchange: () => this.#widen(whole.checked) });
    const group = h("span", { role: "group", "aria-label": "view" }, this.flat, this.deep);
    return h("div", { class: "views" }, group, h("label", {}, whole, " the whole surface"));
  }

  #aside() {
    const legend = h(
      "p",
      { class: "soft" },
      "A strong line is the way so far, a faint one what is to come. Stars are known minimizers (crosses in 3-D). The black " +
        "arrow points against the gradient, down the steepest way: from above, at right angles to the contour lines where " +
        "x and y have the same scale, and longer where the slope is larger (log scale).",
    );
    return h("aside", {}, h("h2", {}, "The point"), this.#readings.element, this.others.element, legend);
  }

  async #choose(isDeep) {
    this.#isDeep = isDeep;
    try {
      localStorage.setItem(KEY, isDeep ? "3-D" : "from above");
    } catch {
      // not remembered then
    }
    if (isDeep) await this.#deepen();
    this.#redraw();
  }

  #widen(isWhole) {
    this.#isWhole = isWhole;
    this.#redraw();
  }

  /** Three dimensions, where that is possible; else the picture from above, and why. */
  async #deepen() {
    if (this.#space) return;
    try {
      if (!hasWebGL()) throw new Error("this browser has no WebGL");
      const space = new Space(await readPlotly());
      this.#space ??= space;
    } catch (error) {
      this.#isDeep = false;
      this.trouble = `No picture in 3-D: ${error.message}.`;
    }
  }

  #redraw() {
    if (!this.#ways.length) return;
    const all = this.#ways.flatMap(reached);
    this.#view = viewOf(this.#landscape, [...all, ...(this.#landscape?.minimizers ?? [])], this.#isWhole);
    const isDeep = this.#isDeep && this.#space !== null && this.#landscape !== null;
    this.flat.setAttribute("aria-pressed", String(!isDeep));
    this.deep.setAttribute("aria-pressed", String(isDeep));
    this.#message.textContent = this.#landscape ? (this.trouble ?? "") : NO_HEIGHTS;
    const shown = isDeep ? this.#space.element : this.#contour.element;
    if (this.#stage.firstChild !== shown) refill(this.#stage, shown);
    const scene = this.#scene();
    if (isDeep) this.#guard(this.#space.draw(scene));
    else this.#contour.draw(scene);
    this.#readings.show(scene);
  }

  #move() {
    const scene = this.#scene();
    if (this.#stage.firstChild === this.#space?.element) this.#guard(this.#space.move(scene));
    else this.#contour.move(scene);
    this.#readings.move(scene);
  }

  async #guard(work) {
    try {
      await work;
    } catch (error) {
      this.#isDeep = false;
      this.trouble = `The picture in 3-D failed: ${error.message}.`;
      this.#redraw();
    }
  }

  #scene() {
    const { step } = this.#store.state;
    const standings = this.#ways.map((way) => standing(way, this.#landscape, step));
    return { landscape: this.#landscape, view: this.#view, ways: this.#ways, standings };
  }

  #fit() {
    if (!this.#ways.length) return;
    if (this.#stage.firstChild === this.#space?.element) this.#space.resize();
    else this.#contour.draw(this.#scene());
  }

  #point(point) {
    const at = point && `x = ${number(point[0])}, y = ${number(point[1])}`;
    const z = point && this.#landscape ? smoothHeight(this.#landscape, ...point) : Number.NaN;
    this.#under.textContent = at ? `at the pointer: ${at}${this.#landscape ? `, loss ≈ ${number(z)}` : ""}` : "";
  }
}

/** What of a way should be in view: of a population only the ends, since single points may lead far away and back. */
function reached({ members, steps }) {
  const places = members.length === 1 ? [...steps.keys()] : [0, steps.length - 1];
  return members.flatMap(({ x, y }) => places.map((i) => [x[i], y[i]]));
}

const NO_HEIGHTS = "The heights of the surface are written when the run ends; until then there is its path alone.";
