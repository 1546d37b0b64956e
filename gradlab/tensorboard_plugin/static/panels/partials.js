// Partials: a parameter's weights and gradient side by side, and its entries' derivatives over the steps.

import { h, refill } from "../dom.js";
import { number } from "../format.js";
import { Curves } from "./partials_curves.js";
import { parameters, readPartial } from "./partials_data.js";
import { Matrix, pictureAt } from "./partials_matrix.js";

const MOST_JUMPS = 24;

/** @type {import("../main.js").Panel} */
export const partials = {
  id: "partials",
  title: "Partials",
  lacks: "This run has no partial derivatives: record them with 'probes=[partials]', or with GradientLabCallback().",
  has: (tags) => parameters(tags).length > 0,
  async mount(root, store, reader) {
    const panel = new PartialsPanel(root, store, reader);
    await panel.reload();
    return panel;
  },
};

class PartialsPanel {
  /** @type {number[]} */
  steps = [];
  #select = h("select", { "aria-label": "parameter", onchange: () => this.#choose(this.#select.value) });
  #readout = h("output", { class: "readout", "aria-live": "polite" });
  #notes = h("div");
  #heading = h("h2");
  /** @type {import("./partials_data.js").Partial} */
  #shown;
  /** @type {import("./partials_matrix.js").Cell | null} */
  #cell = null;
  #turn = 0;

  constructor(root, store, reader) {
    this.store = store;
    this.reader = reader;
    this.run = store.state.run;
    const onmove = (cell) => this.#point(cell);
    const onpick = (cell) => this.#curves.choose(`[${this.#index(cell).join()}]`);
    this.#weights = new Matrix({ title: "weight", logarithmic: false, onmove, onpick });
    this.#gradients = new Matrix({ title: "gradient ∂L/∂θ", logarithmic: true, onmove, onpick });
    this.#curves = new Curves((step) => store.set({ step }));
    const matrices = h("div", { class: "matrices" }, this.#weights.element, this.#gradients.element);
    const title = h("h2", {}, "Partial derivatives: which way, and how strongly, the loss pulls at each entry");
    const label = h("label", {}, "parameter ", this.#select);
    refill(root, title, label, this.#notes, this.#readout, matrices, this.#heading, this.#curves.element);
    this.#observer = new ResizeObserver(() => {
      this.#weights.draw();
      this.#gradients.draw();
    });
    this.#observer.observe(matrices);
  }

  #observer;
  #weights;
  #gradients;
  #curves;

  async reload() {
    const names = parameters(this.store.tags);
    if (!names.length) throw new Error("it has no partial derivatives");
    const listed = [...this.#select.options].map((option) => option.value);
    if (names.join("\n") !== listed.join("\n")) {
      refill(this.#select, ...names.map((name) => h("option", { value: name }, name)));
    }
    await this.#show(this.#wanted(names));
    return this;
  }

  async update(changed) {
    if (changed.has("selected")) {
      const name = this.#wanted(parameters(this.store.tags));
      if (name !== this.#shown.name) {
        await this.#show(name);
        this.store.set({ steps: this.steps });
      }
    }
    if (changed.has("step")) this.#draw();
  }

  destroy() {
    this.#observer.disconnect();
    for (const part of [this.#weights, this.#gradients, this.#curves]) part.destroy();
  }

  /** The one selected on the page, else the one shown, else the first with a picture. */
  #wanted(names) {
    const { selected } = this.store.state;
    if (selected?.kind === "value" && names.includes(selected.name)) return selected.name;
    if (names.includes(this.#shown?.name)) return this.#shown.name;
    return names.find((name) => `partial/${name}` in this.store.tags) ?? names[0];
  }

  #choose(name) {
    this.store.set({ selected: { kind: "value", name } });
  }

  async #show(name) {
    const turn = ++this.#turn; // of two choices in a row, the later one counts
    const found = await readPartial(this.reader, this.run, this.store.tags, name);
    if (turn !== this.#turn) return;
    if (name !== this.#shown?.name) this.#point(null);
    this.#shown = found;
    this.#select.value = name;
    this.steps = found.steps;
    this.#weights.set(found.weights, this.#pooled);
    this.#gradients.set(found.gradients, this.#pooled);
    this.#curves.set(name, found.curves);
    refill(this.#notes, ...this.#words());
    refill(this.#heading, this.#title());
    this.#draw();
  }

  get #pooled() {
    return this.#shown.entries.length > 0;
  }

  /** What there is to say of these pictures. */
  #words() {
    const { gradients, weights } = this.#shown;
    if (!gradients.length)
      return [h("p", { class: "soft" }, "Not a matrix, or none was recorded as a picture: its entries are curves.")];
    const words = [
      "Vermillion: positive (the loss grows as the entry grows). Blue: negative. One scale for all steps, of gradients a logarithmic one.",
    ];
    if (this.#pooled) {
      words.push(
        "The matrix is larger than 64 × 64: a cell stands for several entries and shows the one of largest gradient.",
      );
    }
    if (!weights.length) words.push("The weights were not recorded by the version of gradlab that made this run.");
    return [h("p", { class: "soft" }, words.join(" ")), this.#jumps(gradients.map(({ step }) => step))];
  }

  /** Where the pictures are: a button for each, or, of many, in words. */
  #jumps(steps) {
    if (steps.length > MOST_JUMPS) {
      return h("p", { class: "soft" }, `Pictures at ${steps.length} steps, from ${steps[0]} to ${steps.at(-1)}.`);
    }
    const jump = (step) => h("button", { type: "button", onclick: () => this.store.set({ step }) }, String(step));
    return h("p", { class: "jumps" }, "pictures at steps ", steps.map(jump));
  }

  /** What the curves are. */
  #title() {
    const { curves, gradients } = this.#shown;
    if (!curves.length) return "";
    const cells = gradients[0]?.numbers.length ?? 0;
    if (!this.#pooled && cells <= curves.length) return "Each entry over the steps";
    return `The ${curves.length} entries that were largest at first, over the steps`;
  }

  #draw() {
    const { step } = this.store.state;
    this.#weights.at(step);
    this.#gradients.at(step);
    this.#curves.at(step);
    this.#say();
  }

  #point(cell) {
    this.#cell = cell;
    this.#weights.point(cell);
    this.#gradients.point(cell);
    this.#say();
  }

  /** Which entry of the parameter a cell shows. */
  #index({ row, column }) {
    const { entries } = this.#shown;
    if (!entries.length) return [row, column];
    const { shape, numbers } = pictureAt(entries, this.store.state.step);
    const place = row * shape[2] + column;
    return [numbers[place], numbers[shape[1] * shape[2] + place]];
  }

  #say() {
    if (!this.#shown) return;
    const { weights, gradients } = this.#shown;
    if (!gradients.length && !weights.length) return refill(this.#readout);
    if (!this.#cell) return refill(this.#readout, "Point at an entry to read its weight and its gradient.");
    const { row, column } = this.#cell;
    const { step } = this.store.state;
    const read = (pictures) => {
      const { shape, numbers } = pictureAt(pictures, step);
      return number(numbers[row * shape[1] + column], 5);
    };
    const parts = [
      weights.length && `weight ${read(weights)}`,
      gradients.length && `gradient ${read(gradients)}`,
    ].filter(Boolean);
    const several = this.#pooled ? ", the largest gradient of the several entries in this cell" : "";
    const when = pictureAt(gradients.length ? gradients : weights, step).step;
    refill(
      this.#readout,
      h("b", {}, `entry [${this.#index(this.#cell).join(", ")}]`),
      `: ${parts.join(", ")} at step ${when}${several}`,
    );
  }
}
