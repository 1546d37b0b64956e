// Where everything of a graph stands: levels within levels, one for each open group.

import { line, node, place } from "./graph_layers.js";
import { around, inSight } from "./graph_tree.js";

/**
 * @typedef {import("./graph_tree.js").Item} Item
 * @typedef {{item: Item, x: number, y: number, width: number, height: number, isOpen: boolean}} Box
 * @typedef {{value: string, from: Item, to: Item, edges: number[], parts: number[][]}} Line what flows from one box to another
 */

const PADDING = 12;
const HEAD = 24; // above the content of an open group
const CHARACTER = 7.2; // pixels, of the font in the boxes

/**
 * @param {import("./graph_tree.js").Tree} tree
 * @param {Set<string>} open ids of the open groups
 * @param {number} width of a row
 * @returns {{boxes: Box[], lines: Line[], width: number, height: number}}
 */
export function arranged(tree, open, width) {
  const { lines, levels } = routed(tree, open);
  const gap = tree.isSmall ? 96 : 44; // room for a number, or for a line
  const root = arrange(tree, tree.root, open, levels, { gap, width });
  const boxes = [];
  const parts = new Map();
  position(root, 0, 0, boxes, parts);
  for (const each of lines) each.parts = each.way.flatMap((key) => parts.get(key) ?? []);
  return { boxes, lines, width: root.width, height: root.height };
}

/** What flows between boxes in sight, and through which levels: out of groups, across, and into groups. */
function routed(tree, open) {
  const found = new Map();
  const levels = new Map();
  const wire = (group, from, to, value) => {
    const key = `${group.id}|${from}|${to}|${value}`;
    if (!levels.has(group)) levels.set(group, new Map());
    levels.get(group).set(key, { key, from, to, value });
    return key;
  };
  for (const flow of tree.flows) {
    const [from, to] = [inSight(flow.from, open), inSight(flow.to, open)];
    if (from === to) continue;
    const key = `${from.id}|${to.id}|${flow.value}`;
    const known = found.get(key);
    if (known) {
      if (flow.edge !== null) known.edges.push(flow.edge);
      continue;
    }
    const [ups, downs] = [around(from), around(to)];
    const meeting = ups.find((each) => each !== from && downs.includes(each));
    const [up, down] = [ups.slice(0, ups.indexOf(meeting)), downs.slice(0, downs.indexOf(meeting)).reverse()];
    const way = up.slice(0, -1).map((each, at) => wire(up[at + 1], each.id, `out ${flow.value}`, flow.value));
    way.push(wire(meeting, up.at(-1).id, down[0].id, flow.value));
    for (let at = 1; at < down.length; at++) way.push(wire(down[at - 1], `in ${flow.value}`, down[at].id, flow.value));
    const edges = flow.edge === null ? [] : [flow.edge];
    found.set(key, { value: flow.value, from, to, edges, way, parts: [] });
  }
  return { lines: [...found.values()], levels };
}

/** The layout of one open group; open groups within come first, for their sizes. */
function arrange(tree, group, open, levels, options) {
  const inner = new Map();
  const nodes = new Map();
  for (const child of [...group.children].reverse()) {
    // children are listed from the loss down
    const isOpen = child.kind === "group" && open.has(child.id);
    if (isOpen)
      inner.set(child, arrange(tree, child, open, levels, { ...options, width: options.width - 2 * PADDING }));
    const { width, height } = isOpen ? framed(inner.get(child)) : sizeOf(tree, child);
    nodes.set(child.id, Object.assign(node(child.id, width, height, child.kind === "leaf" ? 1 : 4), { item: child }));
  }
  const level = [...(levels.get(group)?.values() ?? [])];
  for (const { from, to } of level) {
    if (from.startsWith("in ") && !nodes.has(from)) nodes.set(from, node(from, 0, 8, 4, "first"));
    if (to.startsWith("out ") && !nodes.has(to)) nodes.set(to, node(to, 0, 8, 4, "last"));
  }
  const port = (id, name) => inner.get(nodes.get(id).item)?.ports.get(name) ?? 0;
  const wires = level.map(({ key, from, to, value }) => {
    const [out, into] = [port(from, `out ${value}`), port(to, `in ${value}`)];
    return { key, value, from: nodes.get(from), to: nodes.get(to), out, in: into, chain: [] };
  });
  const frame = place([...nodes.values()], wires, options);
  const whole = framed(frame);
  const ports = new Map();
  for (const [name, each] of nodes) if (each.fixed) ports.set(name, each.y + HEAD + PADDING - whole.height / 2);
  return { ...frame, group, nodes: [...nodes.values()], wires, frame, inner, ports };
}

function framed({ width, height }) {
  return { width: width + 2 * PADDING, height: height + HEAD + 2 * PADDING };
}

/** From places within levels to places on the page. */
function position(level, dx, dy, boxes, parts) {
  for (const each of level.nodes) {
    if (!each.item) continue;
    const [x, y] = [each.x + dx, each.y - each.height / 2 + dy];
    const inner = level.inner.get(each.item);
    boxes.push({ item: each.item, x, y, width: each.width, height: each.height, isOpen: Boolean(inner) });
    if (inner) position(inner, x + PADDING, y + HEAD + PADDING, boxes, parts);
  }
  for (const wire of level.wires) parts.set(wire.key, edged(wire, level, dx, dy));
}

/** A line, from and to the border of the group where it leaves or enters it. */
function edged(wire, level, dx, dy) {
  const drawn = line(wire, level.frame, dx, dy);
  const [x1, y1] = drawn[0];
  const [, , x2, y2] = drawn.at(-1);
  if (wire.from.fixed) drawn.unshift([dx - PADDING, y1, x1, y1]);
  if (wire.to.fixed) drawn.push([x2, y2, dx + level.frame.width + PADDING, y2]);
  return drawn;
}

/** How large a closed box must be for its text. */
function sizeOf(tree, item) {
  const title = titleOf(tree, item).length * CHARACTER + (item.kind === "group" ? 40 : 22);
  const shown =
    item.kind === "operation" ? tree.structure.operations[item.place].value : tree.values.get(item.name)?.value;
  const size = shown?.numbers?.shape.reduce((a, b) => a * b, 1);
  const isNumber = item.kind === "loss" || size === 1;
  if (item.kind === "leaf" && !shown) return { width: Math.max(64, title), height: 38 };
  if (isNumber) return { width: Math.max(82, title), height: 40 };
  return { width: Math.max(size <= 3 ? 156 : 112, title), height: item.kind === "group" || !(size <= 3) ? 54 : 40 };
}

/** What stands on a box: at most so long that boxes stay narrow; the whole name is in its title. */
export function titleOf(tree, item) {
  if (item.kind === "group") {
    const call = item.id.slice(item.name.length + 1);
    return shortened(inside(item)) + (call === "1" ? "" : ` (call ${call})`);
  }
  if (item.kind === "leaf") return shortened(inside(item));
  if (item.kind === "loss") return "loss";
  const { name, outputs } = tree.structure.operations[item.place];
  const given = outputs.length === 1 && outputs[0] !== name ? ` → ${outputs[0]}` : "";
  return shortened(name + given, 24);
}

function inside({ name, parent }) {
  return parent?.name && name.startsWith(`${parent.name}.`) ? name.slice(parent.name.length + 1) : name;
}

/** A long name without its middle. */
export function shortened(name, most = 20) {
  if (name.length <= most) return name;
  const kept = (most - 1) / 2;
  return `${name.slice(0, Math.ceil(kept))}…${name.slice(name.length - Math.floor(kept))}`;
}
