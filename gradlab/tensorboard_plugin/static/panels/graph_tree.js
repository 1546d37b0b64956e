// Operations, leaves and modules of one structure as a tree: what can be folded into what.
//
// A group is a run of operations, one after another in the forward pass, in one module. Runs of a topological order keep
// the folded graph free of cycles, and a module that is called several times has a group for each call.

/**
 * @typedef {{kind: "operation", id: string, name: string, place: number, parent: Item | null}} OperationItem
 * @typedef {{kind: "leaf", id: string, name: string, role: string, places: number[], parent: Item | null}} LeafItem
 * @typedef {{kind: "loss", id: string, name: string, parent: Item | null}} LossItem
 * @typedef {{kind: "group", id: string, name: string, places: number[], children: Item[], parent: Item | null}} GroupItem
 * @typedef {OperationItem | LeafItem | LossItem | GroupItem} Item
 *
 * A value that flows from where it is made to where it is used; `edge` is its place among the structure's edges, null on
 * the way to the loss.
 * @typedef {{value: string, from: Item, to: Item, edge: number | null}} Flow
 */

const SMALL = 40; // an expression of at most so many operations, all on readable numbers, is unfolded at once
const CROWD = 40; // containers of modules are unfolded as long as no more nodes than this are in sight
const BLANK = 6; // fewer nodes than this say little: then the first container may hold more
const MOST = 150;

export class Tree {
  /** @param {import("../graph_data.js").Structure} structure */
  constructor(structure) {
    this.structure = structure;
    /** @type {OperationItem[]} */
    this.operations = structure.operations.map((operation, place) => ({
      kind: "operation",
      id: `operation ${place}`,
      name: operation.name,
      place,
      parent: null,
    }));
    const paths = structure.operations.map((operation) => (operation.module ? operation.module.split(".") : []));
    const users = usersOf(structure);
    const hasWeights = new Set(
      [...users.values()].filter((leaf) => leaf.role === "parameter").flatMap((leaf) => leaf.places),
    );
    const calls = new Map();
    /** @type {GroupItem} */
    this.root = { kind: "group", id: "", name: "", places: paths.map((_, place) => place), children: [], parent: null };
    this.root.children = this.#grouped(this.root, paths, hasWeights, 0, calls);
    /** @type {Map<string, LeafItem>} */
    this.leaves = new Map();
    for (const [name, { role, places }] of users) this.#addLeaf(name, role, places);
    /** @type {LossItem} */
    this.loss = { kind: "loss", id: "loss", name: "loss", parent: this.root };
    this.root.children.push(this.loss);
    this.values = new Map(structure.values.map((value) => [value.name, value]));
    this.groups = groupsOf(this.root);
    this.flows = this.#flows();
  }

  /** Which groups are open at first. */
  atFirst() {
    const open = new Set([""]);
    if (this.isSmall) {
      for (const group of this.groups) open.add(group.id);
      return open;
    }
    let count = this.root.children.length;
    for (const group of this.groups) {
      const isContainer = group.children.every((child) => child.kind === "group");
      if (
        !isContainer ||
        !open.has(group.parent?.id ?? "") ||
        count + group.children.length - 1 > (count < BLANK ? MOST : CROWD)
      )
        continue;
      open.add(group.id);
      count += group.children.length - 1;
    }
    return open;
  }

  /** Whether it is an expression whose numbers can all be read. */
  get isSmall() {
    const { operations } = this.structure;
    return operations.length <= SMALL && operations.every((operation) => operation.value?.numbers);
  }

  /**
   * The item that stands for something selected.
   * @param {{kind: string, name: string}} selected
   * @returns {Item | undefined}
   */
  find({ kind, name }) {
    if (kind === "module") return this.groups.find((group) => group.id === name || group.name === name);
    if (kind === "operation") return this.operations.find((item) => item.name === name);
    if (name === "loss") return this.loss;
    const made = this.values.get(name)?.made_by;
    return this.leaves.get(name) ?? (made === null || made === undefined ? undefined : this.operations[made]);
  }

  /** The children of a group by modules: `depth` parts of their paths are known already. */
  #grouped(parent, paths, hasWeights, depth, calls) {
    const children = [];
    for (const run of runs(parent.places, (place) => paths[place][depth])) {
      const part = paths[run[0]][depth];
      const isOne = run.length === 1 && !(hasWeights.has(run[0]) && paths[run[0]].length > depth);
      if (part === undefined || isOne) {
        for (const place of run) children.push(Object.assign(this.operations[place], { parent }));
        continue;
      }
      const name = paths[run[0]].slice(0, depth + 1).join(".");
      const call = (calls.get(name) ?? 0) + 1;
      calls.set(name, call);
      const group = { kind: "group", id: `${name} ${call}`, name, places: run, children: [], parent };
      group.children = this.#grouped(group, paths, hasWeights, depth + 1, calls);
      children.push(shortcut(group));
    }
    return children;
  }

  #addLeaf(name, role, places) {
    const parent = role === "input" ? this.root : common(places.map((place) => this.operations[place].parent));
    const leaf = { kind: "leaf", id: `value ${name}`, name, role, places, parent };
    this.leaves.set(name, leaf);
    parent.children.push(leaf);
  }

  /** @returns {Flow[]} */
  #flows() {
    const { values, edges } = this.structure;
    const source = (name) => {
      const made = this.values.get(name)?.made_by ?? this.makers.get(name);
      return made === undefined || made === null ? this.leaves.get(name) : this.operations[made];
    };
    this.makers = new Map(this.structure.operations.flatMap((op, place) => op.outputs.map((name) => [name, place])));
    const flows = edges.map((edge, at) => {
      return { value: edge.value, from: source(edge.value), to: this.operations[edge.operation], edge: at };
    });
    for (const value of values) {
      if (value.contributions.some((each) => each.operation === null)) {
        flows.push({ value: value.name, from: source(value.name), to: this.loss, edge: null });
      }
    }
    return flows.filter((flow) => flow.from && flow.to && flow.from !== flow.to);
  }
}

/** An item and all groups around it, from the inside out. */
export function around(item) {
  const chain = [];
  for (let at = item; at; at = at.parent) chain.push(at);
  return chain;
}

/** What stands for an item in sight: itself, or the outermost closed group around it. */
export function inSight(item, open) {
  return around(item).findLast((each) => each === item || !open.has(each.id)) ?? item;
}

function usersOf(structure) {
  const made = new Set(structure.operations.flatMap((operation) => operation.outputs));
  for (const value of structure.values) if (value.made_by !== null) made.add(value.name);
  const users = new Map();
  for (const edge of structure.edges) {
    if (made.has(edge.value)) continue;
    const known = users.get(edge.value);
    if (known) known.places.push(edge.operation);
    else users.set(edge.value, { role: edge.kind, places: [edge.operation] });
  }
  return users;
}

/** Neighbours with the same key, together; what has no key stays alone. */
function runs(places, keyOf) {
  const found = [];
  let last;
  for (const place of places) {
    const key = keyOf(place);
    if (found.length && key !== undefined && key === last) found.at(-1).push(place);
    else found.push([place]);
    last = key;
  }
  return found;
}

/** A group that holds nothing but another one is that other one. */
function shortcut(group) {
  if (group.children.length !== 1 || group.children[0].kind !== "group") return group;
  return Object.assign(group.children[0], { parent: group.parent });
}

function common(groups) {
  const [first, ...others] = groups.map(around);
  return first.find((group) => others.every((chain) => chain.includes(group)));
}

function groupsOf(root) {
  const found = [];
  const queue = [root];
  for (const group of queue) {
    for (const child of group.children) if (child.kind === "group") queue.push(child);
    if (group !== root) found.push(group);
  }
  return found;
}
