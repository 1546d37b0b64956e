// What the numbers of one step say of operations, values, modules and lines.

import { number } from "../format.js";
import { shortened } from "./graph_layout.js";
import { around } from "./graph_tree.js";

const FEW = 3; // so many numbers fit on a box

/**
 * Whether manual and autograd agree: "agree", "disagree", "none" (not compared), or "odd" where a number is not finite.
 * @typedef {"agree" | "disagree" | "odd" | "none"} Verdict
 */

/** The verdict on an operation, and on a leaf. */
export function verdict(snapshot, thing) {
  if (!thing) return "none";
  if (isOdd(snapshot, thing)) return "odd";
  return compared(snapshot, thing.agreement);
}

/** Of a comparison alone. */
export function compared(snapshot, agreement) {
  if (!agreement) return "none";
  const [error, tolerance] = [snapshot.at(agreement.error), snapshot.at(agreement.tolerance)];
  if (Number.isNaN(tolerance)) return "none";
  return error <= tolerance ? "agree" : "disagree"; // an error of NaN is no agreement
}

/**
 * NaN always is; an infinite value is not where a finite gradient passes it, or where it is a constant: a mask before a
 * softmax is made of −∞.
 */
function isOdd(snapshot, thing) {
  const gradient = thing.upstream ?? thing.gradient;
  if (gradient && !Number.isFinite(snapshot.at(gradient.l2))) return true;
  const norms = thing.value ? [snapshot.at(thing.value.l2)] : [];
  const numbers = thing.value?.numbers ? snapshot.all(thing.value.numbers) : [];
  const isMeant = Boolean(gradient) || thing.kind === "constant";
  return [...norms, ...numbers].some(isMeant ? Number.isNaN : (each) => !Number.isFinite(each));
}

/** All operations of a structure that are not as they should be, from the loss down. */
export function troubles(snapshot) {
  const found = { disagree: [], odd: [] };
  for (const operation of snapshot.structure.operations) {
    const said = verdict(snapshot, operation);
    if (said === "odd") found.odd.push(operation.name);
    if (compared(snapshot, operation.agreement) === "disagree") found.disagree.push(operation.name);
  }
  return found;
}

/** An operation that is blamed, by name; of a custom Function that too. */
export function accused(snapshot, name) {
  const found = snapshot.structure.operations.find((operation) => operation.name === name);
  return found?.function ? `${named(name)} of the custom Function ${found.function}` : named(name);
}

/** The worst verdict of several operations. */
export function together(snapshot, places) {
  const said = new Set(places.map((place) => verdict(snapshot, snapshot.structure.operations[place])));
  return ["disagree", "odd", "agree"].find((each) => said.has(each)) ?? "none";
}

/** A value or a gradient in a few words: its numbers where they are few, else its norm and its mean. */
export function brief(snapshot, content, digits = 4) {
  if (!content) return "";
  if (content.numbers) {
    const all = snapshot.all(content.numbers);
    if (all.length === 1) return number(all[0], digits);
    if (all.length && all.length <= FEW) return `[${all.map((each) => number(each, 3)).join(", ")}]`;
  }
  return `‖·‖ ${number(snapshot.at(content.l2), digits)}`;
}

/** The lines of text on a box below its title. */
export function textOn(snapshot, tree, item) {
  const { structure } = snapshot;
  if (item.kind === "loss") return [number(snapshot.at(structure.loss))];
  if (item.kind === "group") {
    const top = structure.operations[item.places[0]];
    const holds = item.places.length === 1 ? top.name : counted(item.places.length, "operation");
    return [holds, brief(snapshot, top.value)];
  }
  const value = item.kind === "operation" ? structure.operations[item.place].value : tree.values.get(item.name)?.value;
  if (!value) return [item.kind === "leaf" ? kindOf(item.role) : ""];
  const text = brief(snapshot, value);
  return text.startsWith("‖") ? [text, `mean ${number(snapshot.at(value.mean), 3)}`] : [text];
}

/** "1 operation", "2 operations". */
export function counted(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

/** What a leaf is, in words. */
export function kindOf(role) {
  return { parameter: "parameter", buffer: "buffer", input: "input", constant: "constant" }[role] ?? role;
}

/**
 * What flows back along a line.
 * @returns {{l2: number, mean: number, text: string, isExact: boolean} | null} null where nothing flows
 */
export function flowing(snapshot, tree, line) {
  const { structure } = snapshot;
  if (line.to.kind === "loss") return { l2: 1, mean: 1, text: "1", isExact: true };
  const all = line.edges.map((edge) => structure.edges[edge].downstream).filter(Boolean);
  if (!all.length) return null;
  const value = tree.values.get(line.value);
  const sum = all.length > 1 && value?.contributions.length === all.length ? value.gradient : null;
  const one = all.length === 1 ? all[0] : sum;
  if (one)
    return { l2: snapshot.at(one.l2), mean: snapshot.at(one.mean), text: brief(snapshot, one, 3), isExact: true };
  const l2 = Math.hypot(...all.map((each) => snapshot.at(each.l2)));
  return {
    l2,
    mean: all.reduce((sum, each) => sum + snapshot.at(each.mean), 0),
    text: `‖·‖ ≈ ${number(l2, 3)}`,
    isExact: false,
  };
}

/** The largest finite norm of what flows along any edge. */
export function largest(snapshot) {
  let most = 0;
  for (const { downstream } of snapshot.structure.edges) {
    const l2 = downstream ? snapshot.at(downstream.l2) : 0;
    if (Number.isFinite(l2) && l2 > most) most = l2;
  }
  return most;
}

/** What comes into a module from above, and what it passes on to values made outside of it; norms. */
export function through(snapshot, tree, group) {
  const { structure } = snapshot;
  const within = new Set(group.places);
  const [entering, leaving] = [new Map(), []];
  for (const value of structure.values) {
    const isMadeHere = value.made_by !== null && within.has(value.made_by);
    const outside = value.contributions.filter((each) => each.operation === null || !within.has(each.operation));
    if (isMadeHere && outside.length) for (const each of outside) entering.set(each, snapshot.at(each.gradient.l2));
    const leaf = tree.leaves.get(value.name);
    const ends = value.made_by === null && leaf && around(leaf).includes(group);
    if (isMadeHere || ends) continue;
    for (const each of value.contributions) if (within.has(each.operation)) leaving.push(snapshot.at(each.gradient.l2));
  }
  const upstream = Math.hypot(...entering.values());
  const downstream = leaving.length ? Math.hypot(...leaving) : Number.NaN;
  return { upstream, downstream, isPassing: leaving.length > 0 };
}

/** The name of an entry, such as [3, 7], out of its place in the flattened tensor. */
export function entryName(at, shape) {
  const size = shape.reduce((a, b) => a * b, 1);
  if (!Number.isFinite(at) || at >= size) return "";
  const index = [];
  let rest = at;
  for (const extent of [...shape].reverse()) {
    index.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return index.length ? `[${index.join(", ")}]` : "";
}

/** A name as the page shows it in running text. */
export function named(name) {
  return shortened(name, 40);
}
