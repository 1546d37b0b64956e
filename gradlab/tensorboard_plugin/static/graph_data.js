// The backward pass of one step: the structure that `gradlab.probes.graph` writes, and where its numbers stand.

import { arrays, placeOf } from "./series.js";

export const STRUCTURE = /^graph\/\d+$/;
const SCHEMA = 1;
const COUNTED = new WeakMap();
const NO_PLACES = new Set(["schema", "operation", "made_by"]); // numbers that are none
const PARSED = new WeakMap(); // by what was read: a run that goes on keeps the structure that is drawn

/**
 * Numbers that change with the step stand in a vector; here are their places in it.
 * @typedef {{at: number, shape: number[]}} Places
 * @typedef {{l2: number, mean: number, numbers: Places | null}} Content
 * @typedef {{l2: number, linf: number, mean: number, numbers: Places | null}} Gradient
 * @typedef {{error: number, tolerance: number, entry: number, manual: number, autograd: number, numeric: number}} Agreement
 * @typedef {{name: string, operation: string, module: string, formula: string, local: string, line: string, function?: string, source?: string,
 *   outputs: string[], shape: Places, value: Content | null, upstream: Gradient | null, downstream: number, gain: number,
 *   agreement: Agreement | null}} Operation
 * @typedef {{name: string, kind: string, made_by: number | null, shape: Places, dtype: string, value: Content,
 *   gradient: Gradient, contributions: {operation: number | null, symbol: string, gradient: Gradient}[],
 *   agreement: Agreement | null}} Value
 * @typedef {{value: string, operation: number, symbol: string, kind: string, how: string[], shape: Places,
 *   local: Places | null, is_jacobian: boolean, downstream: Gradient | null, gain: number}} Edge
 * @typedef {{schema: number, loss: number, operations: Operation[], values: Value[], edges: Edge[]}} Structure
 */

/** One step of a backward pass. */
export class Snapshot {
  /**
   * @param {Structure} structure
   * @param {number} step
   * @param {Float32Array | Float64Array} numbers
   */
  constructor(structure, step, numbers) {
    this.structure = structure;
    this.step = step;
    this.numbers = numbers;
  }

  /** The number at a place. */
  at(place) {
    return this.numbers[place] ?? Number.NaN; // of a vector cut short, the rest is unknown
  }

  /** The numbers at several places, flat. */
  all(places) {
    const size = places.shape.reduce((a, b) => a * b, 1);
    return Array.from(this.numbers.subarray(places.at, places.at + size));
  }
}

/** The backward passes of one run, step by step. */
export class Passes {
  /** @param {Snapshot[]} snapshots by rising step */
  constructor(snapshots) {
    this.snapshots = snapshots;
    this.steps = snapshots.map((snapshot) => snapshot.step);
  }

  /** The last one that is not after a step. */
  at(step) {
    return this.snapshots[placeOf(this.steps, step)];
  }
}

/** Whether a run has backward passes. */
export function hasPasses(tags) {
  return Object.keys(tags).some((tag) => STRUCTURE.test(tag));
}

/**
 * Reads all backward passes of a run.
 * @param {import("./api.js").Reader} reader
 * @param {string} run
 * @param {import("./api.js").Tags} tags
 */
export async function readPasses(reader, run, tags) {
  const names = Object.keys(tags).filter((tag) => STRUCTURE.test(tag) && `${tag}/values` in tags);
  const parts = await Promise.all(names.map((tag) => readPart(reader, run, tags, tag)));
  const byStep = new Map(parts.flat().map((snapshot) => [snapshot.step, snapshot])); // a resumed run: the later one counts
  return new Passes([...byStep.values()].sort((a, b) => a.step - b.step));
}

async function readPart(reader, run, tags, tag) {
  const [structures, values] = await Promise.all([
    reader.series(run, tag, tags[tag]),
    reader.series(run, `${tag}/values`, tags[`${tag}/values`]),
  ]);
  if (!PARSED.has(structures)) PARSED.set(structures, checked(structures.texts.at(-1)));
  const structure = PARSED.get(structures);
  const found = arrays(values);
  const short = found.find(({ numbers }) => numbers.length < placesIn(structure));
  if (short) throw new Error(`of the numbers of step ${short.step}, some are missing`);
  return found.map(({ step, numbers }) => new Snapshot(structure, step, numbers));
}

/** How many numbers a structure has places for. */
function placesIn(structure) {
  if (!COUNTED.has(structure)) COUNTED.set(structure, count(structure));
  return COUNTED.get(structure);
}

function count(part) {
  if (typeof part === "number") return part + 1;
  if (part === null || typeof part !== "object") return 0;
  if (Object.hasOwn(part, "at")) return part.at + part.shape.reduce((a, b) => a * b, 1);
  const inner = Object.entries(part).filter(([key]) => !NO_PLACES.has(key));
  return inner.reduce((most, [, each]) => Math.max(most, count(each)), 0);
}

function checked(text) {
  const structure = parsed(text);
  if (structure.schema !== SCHEMA) {
    throw new Error(`it was written by another version of gradlab (schema ${structure.schema}, not ${SCHEMA})`);
  }
  return structure;
}

/** Whether every operation that something refers to is there, and has what is asked of it. */
function fits({ operations, values, edges }) {
  const isThere = (place) => place === null || operations[place] !== undefined;
  return (
    operations.every((each) => Array.isArray(each?.outputs)) &&
    edges.every((each) => operations[each?.operation] !== undefined) &&
    values.every((each) => isThere(each?.made_by) && each.contributions?.every((part) => isThere(part?.operation)))
  );
}

function parsed(text) {
  const damaged = "the structure of its backward pass is damaged";
  let structure;
  try {
    structure = JSON.parse(text);
  } catch (error) {
    throw new Error(`${damaged} (${error.message})`);
  }
  const isWhole = [structure?.operations, structure?.values, structure?.edges].every(Array.isArray);
  if (structure?.schema === SCHEMA && !isWhole) throw new Error(`${damaged}: a list is missing`);
  if (structure?.schema === SCHEMA && !fits(structure)) throw new Error(`${damaged}: it refers to what is not there`);
  return structure ?? {};
}
