// What is known of one operation, value or module at the present step, in words and numbers.

import { h } from "../dom.js";
import { number, shape } from "../format.js";
import { formulas } from "./graph_formula.js";
import { compared, counted, entryName, kindOf, named, through, together, verdict } from "./graph_measures.js";
import { added, remark } from "./graph_words.js";

/**
 * @param {import("../graph_data.js").Snapshot} snapshot
 * @param {import("./graph_tree.js").Tree} tree
 * @param {import("./graph_tree.js").Item} item
 * @param {(selected: {kind: string, name: string}) => void} select follows a link
 * @returns {HTMLElement[]}
 */
export function details(snapshot, tree, item, select) {
  if (item.kind === "operation") return ofOperation(snapshot, tree, item, select);
  if (item.kind === "leaf") return ofLeaf(snapshot, tree, item, select);
  if (item.kind === "group") return ofModule(snapshot, tree, item, select);
  return [
    h("h2", {}, "loss"),
    facts([
      ["value", number(snapshot.at(snapshot.structure.loss), 6)],
      ["∂L/∂L", "1"],
    ]),
    h("p", { class: "soft" }, "The backward pass begins here."),
  ];
}

function ofOperation(snapshot, tree, item, select) {
  const { operations, edges } = snapshot.structure;
  const operation = operations[item.place];
  const used = edges.filter((edge) => edge.operation === item.place);
  const written = formulas(snapshot.structure, item.place);
  const facing = [
    ["module", operation.module ? named(operation.module) : "outside of all modules"],
    ["custom Function", operation.function || null],
    ["its backward", operation.source || null],
    ["called at", operation.line || null],
    ["formula", written.write(operation.formula) || null],
    ["shapes", shapes(snapshot, operation, used, written)],
    [
      `value${operation.outputs[0] === operation.name ? "" : ` ${operation.outputs[0]}`}`,
      content(snapshot, operation.value),
    ],
    [
      `upstream ${/\bG\b/.test(operation.local) ? "G = " : ""}∂L/∂${written.output}`,
      content(snapshot, operation.upstream),
    ],
    ["local derivative", written.write(operation.local) || null],
  ];
  const sums = operation.outputs
    .map((name) => tree.values.get(name))
    .filter((value) => value?.contributions.length > 1);
  return [
    h("h2", {}, operation.name),
    warning(verdict(snapshot, operation), compared(snapshot, operation.agreement)),
    facts(facing),
    remark(operation, item.place) ? h("p", { class: "soft" }, remark(operation, item.place)) : null,
    h("h3", {}, "upstream × local derivative = downstream"),
    products(snapshot, operation, used, written, select),
    ...sums.map((value) => pathSum(snapshot, value, select)),
    agreementOf(snapshot, operation.agreement, (agreement) => worstPassed(snapshot, agreement, used, written)),
  ].filter(Boolean);
}

function ofLeaf(snapshot, tree, item, select) {
  const value = tree.values.get(item.name);
  const heading = h("h2", {}, named(item.name));
  if (!value) {
    const edge = snapshot.structure.edges.find((each) => each.value === item.name);
    const about = [
      ["kind", kindOf(item.role)],
      ["shape", edge ? shape(snapshot.all(edge.shape)) : null],
    ];
    return [heading, facts(about), h("p", { class: "soft" }, "No gradient flows to it."), uses(snapshot, item, select)];
  }
  const about = [
    ["kind", kindOf(value.kind)],
    ["shape", `${shape(snapshot.all(value.shape))}, ${value.dtype}`],
    ["value", content(snapshot, value.value)],
    [item.name.length > 12 ? "gradient" : `gradient ∂L/∂${item.name}`, content(snapshot, value.gradient)],
  ];
  return [
    heading,
    warning(verdict(snapshot, value), compared(snapshot, value.agreement)),
    facts(about),
    pathSum(snapshot, value, select),
    agreementOf(snapshot, value.agreement, ({ entry }) => entryName(snapshot.at(entry), snapshot.all(value.shape))),
  ].filter(Boolean);
}

function ofModule(snapshot, tree, item, select) {
  const { upstream, downstream, isPassing } = through(snapshot, tree, item);
  const said = together(snapshot, item.places);
  const words = { agree: "all agree", disagree: "some disagree", odd: "some are not finite", none: "not compared" }[
    said
  ];
  const list = item.places.slice(0, 200).map((place) => {
    const { name } = snapshot.structure.operations[place];
    return h(
      "li",
      {},
      link(name, () => select({ kind: "operation", name })),
    );
  });
  return [
    h("h2", {}, `module ${named(item.name)}`),
    facts([
      ["holds", counted(item.places.length, "operation")],
      ["upstream", `‖·‖ ${number(upstream)}`],
      ["downstream", isPassing ? `‖·‖ ${number(downstream)}` : "nothing: its parameters end the chain"],
      ["gain", isPassing && upstream ? number(downstream / upstream) : null],
      ["manual and autograd", words],
    ]),
    h("h3", {}, "operations, from the loss down"),
    h("ol", { class: "list" }, list),
    item.places.length > 200 ? h("p", { class: "soft" }, `and ${item.places.length - 200} more`) : null,
  ].filter(Boolean);
}

/** Names and what belongs to them; what is null is left out. */
function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== "");
  return h(
    "dl",
    { class: "facts" },
    shown.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

function warning(said, agreement) {
  if (agreement === "disagree")
    return h("p", { class: "disagree", role: "alert" }, "Manual and autograd disagree here.");
  return said === "odd" ? h("p", { class: "odd" }, "Not every number here is finite.") : null;
}

function shapes(snapshot, operation, used, { isNamed }) {
  const inputs = used.map(
    (edge) => `${isNamed ? edge.value : edge.symbol || edge.value}: ${shape(snapshot.all(edge.shape))}`,
  );
  return `${inputs.join(", ")} → ${operation.value ? shape(snapshot.all(operation.shape)) : "nothing"}`;
}

/** The numbers of a value or gradient where they are few; else what sums them up. */
function content(snapshot, about) {
  if (!about) return "none";
  if (about.numbers) return numbers(snapshot, about.numbers);
  const largest = about.linf === undefined ? "" : `, largest ${number(snapshot.at(about.linf))}`;
  return `‖·‖ ${number(snapshot.at(about.l2))}${largest}, mean ${number(snapshot.at(about.mean))}`;
}

/** The same for a product: of large ones the norm alone. */
function short(snapshot, gradient) {
  if (!gradient) return "nothing";
  return gradient.numbers ? numbers(snapshot, gradient.numbers) : `‖·‖ ${number(snapshot.at(gradient.l2))}`;
}

function numbers(snapshot, places) {
  const all = snapshot.all(places).map((each) => number(each));
  if (places.shape.length < 2) return all.length === 1 ? all[0] : `[${all.join(", ")}]`;
  const width = places.shape.at(-1) || 1;
  const rows = Array.from({ length: all.length / width }, (_, row) => all.slice(row * width, (row + 1) * width));
  return h(
    "table",
    { class: "matrix" },
    rows.map((row) =>
      h(
        "tr",
        {},
        row.map((each) => h("td", {}, each)),
      ),
    ),
  );
}

/** For each use of a value: what came in, the local derivative, what is passed down. */
function products(snapshot, operation, used, { isNamed }, select) {
  const upstream = short(snapshot, operation.upstream);
  const rows = used.map((edge) => {
    const kind = edge.kind === "made" ? "" : ` (${kindOf(edge.kind)})`;
    const how = edge.how.length ? `, ${edge.how.join(", ")}` : "";
    const to = h(
      "dt",
      {},
      isNamed || !edge.symbol ? "" : `${edge.symbol} = `,
      link(named(edge.value), () => select({ kind: "value", name: edge.value })),
      kind + how,
    );
    if (!edge.downstream) return [to, h("dd", { class: "soft" }, "no gradient flows")];
    const local = edge.local ? numbers(snapshot, edge.local) : "the local derivative above";
    const gain = snapshot.at(edge.gain);
    return [
      to,
      h(
        "dd",
        {},
        h("span", { class: "term" }, upstream instanceof Node ? upstream.cloneNode(true) : upstream),
        " × ",
        h("span", { class: "term" }, local, edge.is_jacobian && edge.local ? " (Jacobian)" : ""),
        " = ",
        h("strong", { class: "term" }, short(snapshot, edge.downstream)),
        Number.isNaN(gain) ? null : h("span", { class: "soft" }, ` gain ${number(gain)}`),
      ),
    ];
  });
  if (!rows.length) return h("p", { class: "soft" }, "It uses no value.");
  const hasGain = used.some((edge) => !Number.isNaN(snapshot.at(edge.gain)));
  return h(
    "div",
    {},
    h("dl", { class: "products" }, rows.flat()),
    hasGain ? h("p", { class: "soft" }, "gain: downstream ‖·‖ / upstream ‖·‖") : null,
  );
}

/** The gradient of a value as the sum over its uses. */
function pathSum(snapshot, value, select) {
  const rows = value.contributions.map((each) => {
    if (each.operation === null)
      return h("tr", {}, h("td", {}, "the start"), h("td", {}, content(snapshot, each.gradient)));
    const { name } = snapshot.structure.operations[each.operation];
    const { isNamed } = formulas(snapshot.structure, each.operation);
    const role = isNamed || !each.symbol ? "" : ` (as ${each.symbol})`;
    const whence = [link(name, () => select({ kind: "operation", name })), role];
    return h("tr", {}, h("td", {}, whence), h("td", {}, content(snapshot, each.gradient)));
  });
  const isSum = rows.length > 1;
  const total = h(
    "tr",
    { class: "total" },
    h("th", { scope: "row" }, "sum"),
    h("td", {}, content(snapshot, value.gradient)),
  );
  return h(
    "div",
    { class: "path-sum" },
    h("h3", {}, isSum ? `path sum of ${named(value.name)}: used ${rows.length} times` : "its gradient comes from"),
    h("table", {}, rows, isSum ? total : null),
    isSum ? h("p", { class: "soft" }, `${added(snapshot, value)}.`) : null,
  );
}

function uses(snapshot, item, select) {
  const names = [...new Set(item.places)].map((place) => snapshot.structure.operations[place].name);
  return h(
    "p",
    {},
    "used by ",
    names.flatMap((name, at) => [at ? ", " : "", link(name, () => select({ kind: "operation", name }))]),
  );
}

/** The worst entry, which `whereOf` names, by each witness, the relative error, and what rounding explains. */
function agreementOf(snapshot, agreement, whereOf) {
  const heading = h("h3", {}, "manual, autograd, numeric");
  if (!agreement) {
    return h("div", {}, heading, h("p", { class: "soft" }, "Not compared: autograd has no node of its own for it."));
  }
  const [error, tolerance] = [snapshot.at(agreement.error), snapshot.at(agreement.tolerance)];
  const said = compared(snapshot, agreement);
  const where = Number.isFinite(snapshot.at(agreement.entry)) ? whereOf(agreement) : "";
  const row = (name, place) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, number(snapshot.at(place), 8)));
  const isKnown = (place) => !Number.isNaN(snapshot.at(place));
  const isAnyKnown = [agreement.manual, agreement.autograd, agreement.numeric].some(isKnown) || said === "disagree";
  return h(
    "div",
    { class: "witnesses" },
    heading,
    where ? h("p", { class: "soft" }, `worst entry: ${where}`) : null,
    isAnyKnown
      ? h(
          "table",
          {},
          row("manual", agreement.manual),
          row("autograd", agreement.autograd),
          isKnown(agreement.numeric) ? row("numeric", agreement.numeric) : null,
        )
      : null,
    h(
      "p",
      { class: said === "none" ? "soft" : said },
      `relative error ${number(error, 3)}; rounding explains up to ${number(tolerance, 3)}: ${WORDS[said]}.`,
    ),
  );
}

/** Which entry of which gradient that an operation passes down was the worst. */
function worstPassed(snapshot, agreement, used, { isNamed }) {
  const at = snapshot.at(agreement.entry);
  const edge = used[snapshot.at(agreement.input)];
  if (!edge) return `number ${at + 1} of one of the gradients that it passes down`;
  return `${isNamed || !edge.symbol ? named(edge.value) : edge.symbol}${entryName(at, snapshot.all(edge.shape))}`;
}

const WORDS = { agree: "they agree", disagree: "they disagree", none: "not compared" };

/** A button that looks like a link. */
export function link(text, onclick) {
  return h("button", { type: "button", class: "link", onclick }, text);
}
