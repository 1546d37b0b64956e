// Agreement: the handwritten backward pass against autograd, operation by operation and step by step.

import { h, refill } from "../dom.js";
import { number } from "../format.js";
import { hasPasses, readPasses } from "../graph_data.js";
import { Heatmap } from "../heatmap.js";
import { placeOf } from "../series.js";
import { badness, Comparisons, witnesses } from "./agreement_data.js";

const MOST = 20;

/** @type {import("../main.js").Panel} */
export const agreement = {
  id: "agreement",
  title: "Agreement",
  lacks: "This run has no comparisons of operations: record them with 'probes=[graph]'.",
  has: hasPasses,
  async mount(root, store, reader) {
    const panel = new AgreementPanel(root, store, reader);
    await panel.reload();
    return panel;
  },
};

class AgreementPanel {
  /** @type {number[]} */
  steps = [];
  #verdict = h("div");
  #readout = h("output", { class: "readout", "aria-live": "polite" });
  #worst = h("div", { class: "wide" });
  /** @type {Comparisons} */
  #found;

  constructor(root, store, reader) {
    this.store = store;
    this.reader = reader;
    this.run = store.state.run;
    this.map = new Heatmap({
      name: "Agreement: operations and parameters by steps. Arrow keys move, Enter opens the graph there.",
      axis: "step",
      share: 0.6,
      words: {
        title: "relative error (red line: allowed)",
        zero: "exactly equal",
        none: "#c4f0dc",
        above: "more than rounding explains",
        missing: "not compared",
      },
      onmove: (cell) => this.#say(cell),
      onpick: ({ row, place }) => this.#open(this.#found.lines[row], this.steps[place]),
    });
    const title = h("h2", {}, "Manual against autograd");
    refill(root, title, this.#verdict, this.map.legend, this.#readout, this.map.element, this.#worst);
  }

  async reload() {
    const found = new Comparisons(await readPasses(this.reader, this.run, this.store.tags));
    if (!found.count.all) throw new Error("no operation of it was compared");
    this.#found = found;
    this.steps = found.steps;
    refill(this.#verdict, found.culprit ? this.#alarm(found.culprit) : calm(found));
    this.map.set({ rows: found.lines, steps: found.steps, values: found.errors });
    const focused = document.activeElement?.getAttribute("data-name");
    refill(this.#worst, ...this.#table());
    if (focused) this.#worst.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
    requestAnimationFrame(() => {
      this.map.draw();
      this.map.at(placeOf(this.steps, this.store.state.step));
    });
    return this;
  }

  update(changed) {
    if (!changed.has("step")) return;
    this.map.at(placeOf(this.steps, this.store.state.step));
  }

  destroy() {
    this.map.destroy();
  }

  /** The operation to blame: those between it and the loss agree. */
  #alarm({ line, snapshot, error, tolerance }) {
    const { all, wrong } = this.#found.count;
    const steps = this.#found.wrongSteps.size;
    const name = h(
      "button",
      { type: "button", onclick: () => this.#open(line, snapshot.step) },
      `${line.label} at step ${snapshot.step}`,
    );
    const what =
      line.kind === "operation"
        ? "passes down a gradient that is not the derivative of what it computes, while what arrives at it agrees"
        : "gets a different gradient, while every compared operation agrees";
    return h(
      "div",
      { class: "alarm", role: "alert" },
      h("p", {}, h("strong", {}, "✕ Manual and autograd disagree. "), "To blame: ", name),
      h("p", {}, `It ${what}: relative error ${number(error, 3)}, where rounding explains ${number(tolerance, 2)}.`),
      h(
        "p",
        {},
        `In all, ${wrong.toLocaleString("en")} of ${count(all, "comparison")} disagree, at ${steps} of ${count(this.steps.length, "step")}; what lies below it inherits the error.`,
      ),
    );
  }

  #say(cell) {
    const compared = cell && this.#found.at(cell.row, cell.place);
    if (!cell)
      refill(
        this.#readout,
        "The loss is above, the input below. Point at a cell to read it; click it to see the backward pass there.",
      );
    else if (!compared)
      refill(
        this.#readout,
        h("b", {}, this.#found.lines[cell.row].label),
        ` at step ${this.steps[cell.place]}: not compared`,
      );
    else
      refill(
        this.#readout,
        h("b", {}, compared.line.label),
        ` at step ${this.steps[cell.place]}: ${inWords(compared)}`,
      );
  }

  #open({ kind, name }, step) {
    this.store.set({ panel: "graph", step, selected: { kind, name } });
  }

  #table() {
    const shown = this.#found.worst(MOST);
    const lines = this.#found.lines.length;
    const title = `The worst entry of ${lines > MOST ? `the ${MOST} worst of ${lines}` : "all"} operations and parameters`;
    const head = [
      "operation or parameter",
      "step",
      "entry",
      "manual",
      "autograd",
      "numeric",
      "relative error",
      "allowed",
      "",
    ];
    const body = shown.map((each) => {
      const { index, manual, autograd, numeric } = witnesses(each);
      const link = h(
        "button",
        {
          type: "button",
          class: "link",
          "data-name": each.line.name,
          onclick: () => this.#open(each.line, each.snapshot.step),
        },
        each.line.label,
      );
      const numbers = [index || "—", measured(manual), measured(autograd), measured(numeric)];
      const error = each.error === 0 ? "exact" : number(each.error, 3);
      const verdict = h("td", { class: each.ok ? "agree" : "disagree" }, each.ok ? "✓ agrees" : "✕ disagrees");
      const cells = [each.snapshot.step, ...numbers, error, number(each.tolerance, 2)].map((text) => h("td", {}, text));
      return h("tr", {}, h("th", { scope: "row" }, link), cells, verdict);
    });
    const table = h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          head.map((text) => h("th", { scope: "col" }, text)),
        ),
      ),
      h("tbody", {}, body),
    );
    const note =
      "Entry: where the gradient of that input differs most, or, where it does not, where it is largest. " +
      "Numeric: a finite difference of that operation alone. —: not recorded.";
    return [h("h2", {}, title), table, h("p", { class: "soft" }, note)];
  }
}

function calm(found) {
  const { count: counts, lines, steps } = found;
  const [worst] = found.worst(1);
  const operations = lines.filter((line) => line.kind === "operation").length;
  const compared = `${count(operations, "operation")} and ${count(lines.length - operations, "parameter")} at ${count(steps.length, "step")}`;
  const largest =
    worst.error === 0
      ? "all of them exactly"
      : `${counts.exact.toLocaleString("en")} exactly, the others to a relative error of at most ${number(worst.error, 2)}, where rounding explains ${number(worst.tolerance, 2)}`;
  return h(
    "p",
    {},
    h("strong", { class: "agree" }, "✓ They agree"),
    `: ${count(counts.all, "comparison")} of ${compared}, ${largest}.`,
  );
}

function inWords({ error, tolerance, ok }) {
  if (error === 0) return "exactly equal";
  const times = badness(error, tolerance);
  const share = Number.isFinite(times)
    ? `, ${number(times, 2)} of what rounding explains (${number(tolerance, 2)})`
    : "";
  return `${ok ? "they agree" : "they DISAGREE"}: relative error ${number(error, 3)}${share}`;
}

function measured(value) {
  return Number.isNaN(value) ? "—" : number(value, 6);
}

function count(n, word) {
  return `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
}
