// Flow: how large the gradient is in every layer at every step, and what becomes of it on its way back.

import { depthBiases, depthWeights, diagnoseFlow, isBroken, isDead } from "../diagnosis.js";
import { h, refill } from "../dom.js";
import { number } from "../format.js";
import { hasPasses, readPasses } from "../graph_data.js";
import { Heatmap } from "../heatmap.js";
import { MISSING } from "../magnitudes.js";
import { curves, hasCurves, placeOf } from "../series.js";

const RMS = /^gradient\/(.*)\/rms$/;
const LAST = 0.1; // the share of the steps that the verdict is about, as in gradlab/figures/flow_profile.py
const SIGNS = { vanishing: "▼", exploding: "▲", dead: "○", "non-finite": "✕", healthy: "✓", unknown: "?" };

/** @type {import("../main.js").Panel} */
export const flow = {
  id: "flow",
  title: "Flow",
  lacks: "This run has no sizes of gradients: record them with 'probes=[gradients]', or with GradientLabCallback().",
  has: (tags) => hasCurves(tags, (tag) => RMS.test(tag)) || hasPasses(tags),
  async mount(root, store, reader) {
    const panel = new FlowPanel(root, store, reader);
    await panel.reload();
    return panel;
  },
};

class FlowPanel {
  /** @type {number[]} */
  steps = [];
  #verdict = h("p", { class: "verdict", role: "status" });
  #readout = h("output", { class: "readout", "aria-live": "polite" });
  #names = [];

  constructor(root, store, reader) {
    this.store = store;
    this.reader = reader;
    this.run = store.state.run;
    this.map = new Heatmap({
      name: "Gradient flow: layers by steps. Arrow keys move, Enter opens the graph there.",
      axis: "step",
      words: { title: "RMS of the gradient's entries", zero: "exactly zero", none: "#ffffff", missing: "not recorded" },
      onmove: (cell) => this.#say(cell),
      onpick: (cell) => this.#open(cell),
    });
    const title = h("h2", {}, "Gradient flow: how strongly the loss pulls at each parameter");
    const order = h("p", { class: "soft" }, "The loss is above, the input below.");
    refill(root, title, this.#verdict, order, this.map.legend, this.#readout, this.map.element);
  }

  async reload() {
    const { tags } = this.store;
    const found = await gradients(this.reader, this.run, tags);
    if (!found.size) throw new Error("it has no gradient of any parameter");
    const layers = [...found.keys()].reverse(); // the input below
    const steps = union([...found.values()]);
    const judged = verdictOf(found, vectors(tags));
    this.#names = layers;
    this.steps = steps;
    refill(this.#verdict, ...this.#judgement(judged));
    const rows = layers.map((name) => ({ label: name, mark: judged.marks.get(name) }));
    this.map.set({ rows, steps, values: table(layers, found, steps) });
    requestAnimationFrame(() => this.#redraw());
    return this;
  }

  update(changed) {
    if (!changed.has("step")) return;
    this.map.at(placeOf(this.steps, this.store.state.step));
  }

  destroy() {
    this.map.destroy();
  }

  #redraw() {
    this.map.draw();
    this.map.at(placeOf(this.steps, this.store.state.step));
  }

  #judgement({ verdict, words, first, last, layers }) {
    if (!layers) return ["There are no weights of several layers: nothing to compare over depth."];
    const span = first === last ? `at step ${last}` : `in steps ${first} to ${last}`;
    const reasons = words.slice(verdict.length + 2);
    const kind = { healthy: "agree", unknown: "soft" }[verdict] ?? "disagree";
    return [h("strong", { class: kind }, `${SIGNS[verdict]} ${verdict}`), ` ${span}: ${reasons}.`];
  }

  #say(cell) {
    if (!cell) {
      const opens = hasPasses(this.store.tags)
        ? "click it to see the backward pass last recorded by then"
        : "click it to go to its step";
      refill(this.#readout, `Point at a cell to read its number; ${opens}.`);
      return;
    }
    const { row, place, value } = cell;
    const size =
      value === MISSING ? "nothing was recorded" : `RMS ${number(value)}${value === 0 ? " (exactly zero)" : ""}`;
    const spikes = this.map.place.columns < this.steps.length ? " (the largest of the steps in this column)" : "";
    refill(this.#readout, h("b", {}, this.#names[row]), ` at step ${this.steps[place]}: ${size}${spikes}`);
  }

  #open({ row, place }) {
    const step = this.steps[place];
    const selected = { kind: "value", name: this.#names[row] };
    if (hasPasses(this.store.tags)) this.store.set({ panel: "graph", step, selected });
    else this.store.set({ step, selected });
  }
}

/** The RMS of each parameter's gradient, first the parameter nearest to the input. */
async function gradients(reader, run, tags) {
  const found = await curves(reader, run, tags, (tag) => RMS.test(tag));
  if (found.size) return new Map([...found].map(([tag, curve]) => [RMS.exec(tag)[1], curve]));
  const passes = await readPasses(reader, run, tags);
  const parameters = new Map();
  for (const snapshot of passes.snapshots) {
    for (const value of snapshot.structure.values.toReversed()) {
      if (value.kind !== "parameter" && !value.agreement) continue; // of an expression, its variables
      if (!parameters.has(value.name)) parameters.set(value.name, { steps: [], values: [] });
      const entries = snapshot.all(value.shape).reduce((a, b) => a * b, 1);
      parameters.get(value.name).steps.push(snapshot.step);
      parameters.get(value.name).values.push(snapshot.at(value.gradient.l2) / Math.sqrt(entries));
    }
  }
  return parameters;
}

/** Parameters of one dimension: the partials of such have a single index. */
function vectors(tags) {
  const found = new Set();
  for (const { about } of Object.values(tags)) {
    for (const tag of about.kind === "scalars" ? (about.tags ?? []) : []) {
      const parts = /^partial\/(.*)\[([^\]]*)\]$/.exec(tag);
      if (parts && !parts[2].includes(",")) found.add(parts[1]);
    }
  }
  return found;
}

function union(all) {
  const [first] = all;
  if (all.every((curve) => curve.steps.length === first.steps.length && curve.steps.at(-1) === first.steps.at(-1))) {
    return first.steps; // as almost always
  }
  return [...new Set(all.flatMap((curve) => curve.steps))].sort((a, b) => a - b);
}

function table(layers, found, steps) {
  const values = new Float64Array(layers.length * steps.length).fill(MISSING);
  layers.forEach((name, row) => {
    const curve = found.get(name);
    const due = curve.steps === steps ? 0 : 2 * gap(curve.steps);
    steps.forEach((step, place) => {
      const at = placeOf(curve.steps, step);
      const age = step - curve.steps[at];
      // A value lasts until the next one is due: parameters of several optimizers are recorded at different steps.
      if (age === 0 || (age > 0 && age < due)) values[row * steps.length + place] = curve.values[at];
    });
  });
  return values;
}

/** The usual distance between two steps. */
function gap(steps) {
  const gaps = steps.slice(1).map((step, i) => step - steps[i]);
  return gaps.sort((a, b) => a - b)[gaps.length >> 1] ?? 0;
}

function verdictOf(found, flat) {
  const names = [...found.keys()];
  const ends = [...found.values()].map((curve) => curve.steps.at(-1));
  const last = Math.max(...ends);
  let first = last;
  const late = ({ steps, values }) => {
    const from = steps.findIndex((step) => step > last - LAST * (last - steps[0] + 1));
    if (from < 0) return [];
    first = Math.min(first, steps[from]);
    return values.slice(from);
  };
  const end = new Map(names.map((name) => [name, late(found.get(name))]));
  const weights = depthWeights(names, flat);
  const biases = depthBiases(names, weights, flat);
  const layers = new Map(weights.map((name) => [name, end.get(name)]));
  const judged = diagnoseFlow(layers, new Map([...biases].map(([weight, bias]) => [weight, end.get(bias)])));
  return { ...judged, first, last, layers: layers.size, marks: marks(end, judged) };
}

/** What is wrong with a layer, in words with a sign. */
function marks(end, { outlying, trend }) {
  const found = new Map(outlying.map((name) => [name, `${SIGNS[trend]} ${trend}`]));
  for (const [name, values] of end) {
    if (isDead(values)) found.set(name, `${SIGNS.dead} dead`);
    else if (isBroken(values)) found.set(name, `${SIGNS["non-finite"]} non-finite`);
  }
  return found;
}
