// Every comparison of manual with autograd in a run: which operation or parameter, at which step, how far apart.

import { MISSING } from "../magnitudes.js";
import { formulas } from "./graph_formula.js";

/**
 * @typedef {import("../graph_data.js").Snapshot} Snapshot
 * @typedef {{kind: "operation" | "value", name: string, label: string, limit: number}} Line
 *   `limit`: the largest error that rounding explains
 * @typedef {{line: Line, snapshot: Snapshot, error: number, tolerance: number, ok: boolean}} Comparison
 */

export class Comparisons {
  /** @type {Line[]} from the loss down: operations, and after each the parameters that it uses */
  lines = [];
  /** How many comparisons there are, how many of them disagree, and how many are exactly equal. */
  count = { all: 0, wrong: 0, exact: 0 };
  /** The steps at which something disagrees. */
  wrongSteps = new Set();
  #tolerances;
  #worst = []; // of each line, the place of the step at which it is worst off

  /** @param {import("../graph_data.js").Passes} passes */
  constructor(passes) {
    this.snapshots = passes.snapshots;
    this.steps = passes.steps;
    const rows = new Map(); // by structure, the row of each of its entries
    const known = new Map();
    for (const structure of new Set(passes.snapshots.map((snapshot) => snapshot.structure))) {
      rows.set(
        structure,
        entriesOf(structure).map((entry) => this.#rowOf(entry, known)),
      );
    }
    /** Of the lines × steps, the errors. */
    this.errors = new Float64Array(this.lines.length * this.steps.length).fill(MISSING);
    this.#tolerances = new Float64Array(this.errors.length);
    passes.snapshots.forEach((snapshot, place) => {
      const own = rows.get(snapshot.structure);
      entriesOf(snapshot.structure).forEach((entry, i) => {
        this.#add(own[i], place, snapshot, entry);
      });
    });
  }

  #rowOf(entry, known) {
    if (!known.has(key(entry))) {
      known.set(key(entry), this.lines.length);
      this.lines.push({ kind: entry.kind, name: entry.name, label: entry.label, limit: 0 });
    }
    return known.get(key(entry));
  }

  #add(row, place, snapshot, { agreement }) {
    const error = snapshot.at(agreement.error);
    const tolerance = snapshot.at(agreement.tolerance);
    const at = row * this.steps.length + place;
    this.errors[at] = error;
    this.#tolerances[at] = tolerance;
    this.lines[row].limit = Math.max(this.lines[row].limit, tolerance);
    this.count.all += 1;
    if (error === 0) this.count.exact += 1;
    if (!agrees(error, tolerance)) {
      this.count.wrong += 1;
      this.wrongSteps.add(snapshot.step);
    }
    const worst = row * this.steps.length + (this.#worst[row] ?? place);
    const more = badness(error, tolerance) > badness(this.errors[worst], this.#tolerances[worst]);
    if (more || this.#worst[row] === undefined) this.#worst[row] = place;
  }

  #numbers(row, place) {
    const at = row * this.steps.length + place;
    return [this.errors[at], this.#tolerances[at]];
  }

  /**
   * One comparison; null where there was none.
   * @returns {Comparison | null}
   */
  at(row, place) {
    const [error, tolerance] = this.#numbers(row, place);
    if (error === MISSING) return null;
    return { line: this.lines[row], snapshot: this.snapshots[place], error, tolerance, ok: agrees(error, tolerance) };
  }

  /** The first step at which something disagrees, and there the first operation from the loss down. */
  get culprit() {
    const place = this.snapshots.findIndex((snapshot) => this.wrongSteps.has(snapshot.step));
    if (place < 0) return null;
    const wrong = this.lines.map((_, row) => this.at(row, place)).filter((cell) => cell && !cell.ok);
    return wrong.find((cell) => cell.line.kind === "operation") ?? wrong[0];
  }

  /** Of each operation and parameter the comparison worst off, the worst first. */
  worst(most) {
    const each = this.lines.map((_, row) => this.at(row, this.#worst[row]));
    const order = (cell) => badness(cell.error, cell.tolerance);
    return each.sort((a, b) => (order(a) === order(b) ? 0 : order(b) - order(a))).slice(0, most);
  }
}

/** An error of NaN is no agreement. */
function agrees(error, tolerance) {
  return error <= tolerance;
}

/** The error in units of what rounding explains; what is not finite is worse than all else. */
export function badness(error, tolerance) {
  if (error === 0) return 0;
  return Number.isFinite(error) ? error / tolerance : Number.POSITIVE_INFINITY;
}

/**
 * What the three witnesses say of the entry at which two of them differ most.
 * @param {Comparison} comparison
 * @returns {{index: string, manual: number, autograd: number, numeric: number}}
 */
export function witnesses({ line, snapshot }) {
  const found = entriesOf(snapshot.structure).find((entry) => key(entry) === key(line));
  const { entry, manual, autograd, numeric } = found.agreement;
  const at = (place) => snapshot.at(place);
  return {
    index: index(at(entry), compared(found, snapshot)),
    manual: at(manual),
    autograd: at(autograd),
    numeric: at(numeric),
  };
}

/** A place in a flattened tensor as an index for each dimension; without its shape, as it is. */
function index(flat, tensor) {
  if (!Number.isFinite(flat)) return "";
  if (!tensor || flat >= tensor.shape.reduce((a, b) => a * b, 1)) return `${flat} (flattened)`;
  if (!tensor.shape.length) return tensor.symbol || "the only one";
  const places = [];
  let rest = flat;
  for (const size of tensor.shape.toReversed()) {
    places.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return `${tensor.symbol}[${places.join(", ")}]`;
}

/**
 * Whose gradient was compared: of an operation, that of one of its inputs.
 * @returns {{symbol: string, shape: number[]} | null}
 */
function compared({ kind, place, agreement }, snapshot) {
  const { structure } = snapshot;
  if (kind === "value") return { symbol: "", shape: snapshot.all(structure.values[place].shape) };
  const used = structure.edges.filter((edge) => edge.operation === place);
  const edge = used[snapshot.at(agreement.input)];
  const symbol = edge && formulas(structure, place).isNamed ? edge.value : edge?.symbol;
  return edge ? { symbol, shape: snapshot.all(edge.shape) } : null;
}

function key({ kind, name }) {
  return `${kind} ${name}`;
}

const KNOWN = new WeakMap();

/** What a structure compares, from the loss down. */
function entriesOf(structure) {
  if (!KNOWN.has(structure)) KNOWN.set(structure, listed(structure));
  return KNOWN.get(structure);
}

function listed(structure) {
  const values = new Map(structure.values.map((value, place) => [value.name, { ...value, place }]));
  const found = [];
  const used = new Set();
  const add = (value) => {
    if (!value?.agreement || used.has(value.name)) return;
    used.add(value.name);
    found.push({ kind: "value", name: value.name, label: value.name, place: value.place, agreement: value.agreement });
  };
  const uses = structure.operations.map(() => []);
  for (const edge of structure.edges) uses[edge.operation]?.push(edge.value);
  structure.operations.forEach((operation, place) => {
    const { name, module, agreement } = operation;
    const own = operation.function ? `${name} (custom Function ${operation.function})` : name;
    if (agreement) found.push({ kind: "operation", name, label: module ? `${module}: ${own}` : own, place, agreement });
    for (const value of uses[place]) add(values.get(value));
  });
  for (const value of values.values()) add(value);
  return found;
}
