// The backward pass in sentences: what a teacher would say at each operation.

import { number } from "../format.js";
import { formulas } from "./graph_formula.js";
import { brief, compared, counted, through } from "./graph_measures.js";

/**
 * What is said of one station of the backward pass.
 * @param {import("../graph_data.js").Snapshot} snapshot
 * @param {import("./graph_tree.js").Tree} tree
 * @param {import("./graph_tree.js").Item} item
 */
export function sentence(snapshot, tree, item) {
  if (item.kind === "loss") {
    const loss = number(snapshot.at(snapshot.structure.loss));
    return `The backward pass begins at the loss, which is ${loss}: its derivative by itself is 1.`;
  }
  if (item.kind === "group") return ofModule(snapshot, tree, item);
  const operation = snapshot.structure.operations[item.place];
  const edges = snapshot.structure.edges.filter((edge) => edge.operation === item.place && edge.downstream);
  const parts = [sumOf(snapshot, tree, operation), product(snapshot, item.place, edges), ended(snapshot, tree, item)];
  if (compared(snapshot, operation.agreement) === "disagree") parts.push("Manual and autograd disagree here.");
  return parts.filter(Boolean).join(" ");
}

/**
 * What one would not expect to find in one's network; empty for most operations.
 * @param {import("../graph_data.js").Operation} operation
 * @param {number} place from the loss down
 */
export function remark({ operation, module, formula }, place) {
  const isTrainers = place === 0 && operation === "div" && !module && /b = \d+$/.test(formula);
  return isTrainers
    ? "Under Lightning this is the trainer's own: it divides every loss by accumulate_grad_batches, also where that is 1."
    : "";
}

function ofModule(snapshot, tree, group) {
  const { upstream, downstream, isPassing } = through(snapshot, tree, group);
  const passes = isPassing
    ? `; ${counted(group.places.length, "operation")} within; downstream ‖·‖ ${number(downstream)}`
    : "; it passes nothing further down";
  return `Module ${group.name}: upstream ‖·‖ ${number(upstream)}${passes}. Unfold it to see each.`;
}

function product(snapshot, place, edges) {
  const operation = snapshot.structure.operations[place];
  const { output, write } = formulas(snapshot.structure, place);
  const upstream = brief(snapshot, operation.upstream);
  if (!operation.upstream) return `${operation.name}: no gradient comes in from above.`;
  if (!edges.length) return `${operation.name}: upstream ${upstream}; it passes nothing down.`;
  if (edges.length === 1) {
    const [edge] = edges;
    return `${operation.name}: upstream ${upstream} × local derivative ${localOf(snapshot, write(operation.local), edge)} = downstream ${brief(snapshot, edge.downstream)}, to ${edge.value}.`;
  }
  const each = edges.map((edge) => {
    const local = edge.local
      ? `× ${brief(snapshot, { numbers: edge.local }) || `∂${output}/∂${write(edge.symbol)}`} = `
      : "";
    return `${local}${brief(snapshot, edge.downstream)} to ${edge.value}`;
  });
  return `${operation.name} (${write(operation.formula)}): upstream ${upstream}; ${each.join("; ")}. Local derivatives: ${write(operation.local)}.`;
}

/** In words, and as a number where it is a single one. */
function localOf(snapshot, local, edge) {
  const one = edge.local && snapshot.all(edge.local).length === 1 ? ` = ${number(snapshot.all(edge.local)[0])}` : "";
  return `${local || "(no formula)"}${one}`;
}

/** Where a value is used several times, its gradient is a sum. */
function sumOf(snapshot, tree, operation) {
  const values = operation.outputs
    .map((name) => tree.values.get(name))
    .filter((value) => value?.contributions.length > 1);
  return values
    .map((value) => `${value.name} is used ${value.contributions.length} times: ${added(snapshot, value)}.`)
    .join(" ");
}

/** The path sum of a value written out. */
export function added(snapshot, value) {
  const parts = value.contributions.map((each) => brief(snapshot, each.gradient, 3));
  const areNumbers = value.contributions.every((each) => each.gradient.numbers?.shape.length === 0);
  const total = brief(snapshot, value.gradient, 3);
  if (areNumbers) return `${parts.map((part) => (part.startsWith("−") ? `(${part})` : part)).join(" + ")} = ${total}`;
  return `contributions of ${parts.join(", ")} add up to ${total}`;
}

/** Which leaves have their whole gradient now: the last of their uses has passed. */
function ended(snapshot, tree, item) {
  const done = [...tree.leaves.values()].filter(
    (leaf) => leaf.places.length > 1 && Math.max(...leaf.places) === item.place,
  );
  const values = done.map((leaf) => tree.values.get(leaf.name)).filter((value) => value?.contributions.length > 1);
  return values.map((value) => `Now the gradient of ${value.name} is whole: ${added(snapshot, value)}.`).join(" ");
}
