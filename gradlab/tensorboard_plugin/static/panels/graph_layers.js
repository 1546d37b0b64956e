// One level of the layout: nodes in layers by their longest path, few crossings, straight chains, long chains in rows.

/**
 * A node before and after: width and height are given; layer, x (left) and y (middle) are found.
 * @typedef {{key: string, width: number, height: number, weight: number, fixed?: "first" | "last",
 *   layer: number, x: number, y: number, row: number, before: Link[], after: Link[]}} Node
 * @typedef {{from: Node, to: Node, out: number, in: number}} Link `out` and `in`: where it touches, from the middles
 * @typedef {{value: string, from: Node, to: Node, out: number, in: number, chain: Node[]}} Wire
 */

const BETWEEN = 14; // between two nodes of a layer
const SWEEPS = 8;
const LANE = 5; // between two lines that go to the next row

/** @returns {Node} */
export function node(key, width, height, weight = 4, fixed = undefined) {
  return { key, width, height, weight, fixed, layer: 0, x: 0, y: 0, row: 0, before: [], after: [] };
}

/**
 * Places nodes; the wires get the chain of dummies that they run through.
 * @param {Node[]} nodes in the order of the forward pass where there is no other
 * @param {Wire[]} wires
 * @param {{gap: number, width: number}} options between two layers, and how wide a row may become
 */
export function place(nodes, wires, { gap, width }) {
  layered(nodes, wires);
  const layers = filled(nodes, wires);
  ordered(layers);
  level(layers);
  return rows(layers, wires, gap, width);
}

/** Longest path from the left; what nothing comes before stands right before its first user. */
function layered(nodes, wires) {
  const after = new Map(nodes.map((each) => [each, []]));
  const waiting = new Map(nodes.map((each) => [each, 0]));
  for (const { from, to } of wires) {
    after.get(from).push(to);
    waiting.set(to, waiting.get(to) + 1);
  }
  const isSource = new Set(nodes.filter((each) => !waiting.get(each)));
  const queue = [...isSource];
  for (const each of queue) {
    for (const next of after.get(each)) {
      next.layer = Math.max(next.layer, each.layer + 1);
      waiting.set(next, waiting.get(next) - 1);
      if (!waiting.get(next)) queue.push(next);
    }
  }
  for (const each of isSource) {
    const uses = after.get(each);
    if (each.fixed !== "first" && uses.length) each.layer = Math.min(...uses.map((use) => use.layer)) - 1;
  }
  const last = nodes.reduce((most, each) => Math.max(most, each.layer), 0);
  const hasOthers = nodes.some((each) => each.fixed !== "last" && each.layer === last);
  for (const each of nodes) if (each.fixed === "last") each.layer = last + (hasOthers ? 1 : 0);
}

/** The layers, with dummies where a value passes by: one for all of its uses further on. */
function filled(nodes, wires) {
  const layers = [];
  for (const each of nodes) {
    layers[each.layer] ??= [];
    layers[each.layer].push(each);
  }
  for (let at = 0; at < layers.length; at++) layers[at] ??= [];
  const passing = new Map();
  for (const wire of wires) {
    let [last, out] = [wire.from, wire.out];
    for (let layer = wire.from.layer + 1; layer < wire.to.layer; layer++) {
      const key = `${wire.from.key}|${wire.value}|${layer}`;
      let dummy = passing.get(key);
      if (!dummy) {
        dummy = Object.assign(node(key, 0, 10, 12), { layer });
        passing.set(key, dummy);
        layers[layer].push(dummy);
        join(last, dummy, out, 0);
      }
      wire.chain.push(dummy);
      [last, out] = [dummy, 0];
    }
    join(last, wire.to, out, wire.in);
  }
  return layers;
}

function join(from, to, out, into) {
  const link = { from, to, out, in: into };
  from.after.push(link);
  to.before.push(link);
}

/** Orders each layer by the mean place of its neighbours, back and forth. */
function ordered(layers) {
  const number = (layer) => {
    layer.forEach((each, at) => {
      each.at = at - (layer.length - 1) / 2;
    });
  };
  layers.forEach(number);
  const sort = (layer, side, end) => {
    for (const each of layer) {
      const links = each[side];
      each.want = links.length
        ? links.reduce((sum, link) => sum + link[end].at + touch(link) / 1e3, 0) / links.length
        : each.at;
    }
    layer.sort((a, b) => a.want - b.want || b.weight - a.weight);
    number(layer);
  };
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (let at = layers.length - 1; at >= 0; at--) sort(layers[at], "after", "to");
    for (let at = 0; at < layers.length; at++) sort(layers[at], "before", "from");
  }
  for (let at = layers.length - 1; at >= 0; at--) {
    for (const each of layers[at]) if (!each.before.length && each.after.length) each.want = each.after[0].to.at;
    layers[at].sort((a, b) => a.want - b.want || b.weight - a.weight);
    number(layers[at]);
  }
}

function touch(link) {
  return link.out - link.in;
}

/** Heights: each node wants to stand level with its neighbours, and keeps its distance in its layer. */
function level(layers) {
  for (const layer of layers) {
    let y = 0;
    for (const each of layer) {
      each.y = y + each.height / 2;
      y += each.height + BETWEEN;
    }
    for (const each of layer) each.y -= y / 2;
  }
  const settle = (layer, sides) => {
    for (const each of layer) {
      let [sum, count] = [0, 0];
      for (const link of sides.includes("before") ? each.before : []) {
        const weight = link.from.weight;
        sum += weight * (link.from.y + link.out - link.in);
        count += weight;
      }
      for (const link of sides.includes("after") || !each.before.length ? each.after : []) {
        sum += link.to.weight * (link.to.y + link.in - link.out);
        count += link.to.weight;
      }
      each.want = count ? sum / count : each.y;
    }
    spread(layer);
  };
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const layer of layers) settle(layer, ["before"]);
    for (let at = layers.length - 1; at >= 0; at--) settle(layers[at], ["after"]);
  }
  for (const layer of layers) settle(layer, ["before"]);
  for (const layer of layers) settle(layer, ["before", "after"]);
}

/** The places nearest to the wanted ones, by least squares, that keep order and distance (isotonic regression). */
function spread(layer) {
  let offset = 0;
  const blocks = [];
  layer.forEach((each, at) => {
    if (at) offset += (layer[at - 1].height + each.height) / 2 + BETWEEN;
    each.offset = offset;
    let block = { mean: each.want - offset, weight: each.weight, nodes: [each] };
    while (blocks.length && blocks.at(-1).mean > block.mean) {
      const above = blocks.pop();
      const weight = above.weight + block.weight;
      const mean = (above.mean * above.weight + block.mean * block.weight) / weight;
      above.nodes.push(...block.nodes);
      block = { mean, weight, nodes: above.nodes };
    }
    blocks.push(block);
  });
  for (const block of blocks) for (const each of block.nodes) each.y = block.mean + each.offset;
}

/** Puts layers beside each other, and begins a new row where a row would become too wide, where few lines are cut. */
function rows(layers, wires, gap, width) {
  const widths = layers.map((layer) => layer.reduce((most, each) => Math.max(most, each.width), 0));
  const cuts = breaks(widths, crossings(layers), gap, width);
  const starts = [0, ...cuts];
  const crossing = starts.map((start) => (start ? new Set(passing(wires, start)) : new Set()));
  const most = Math.max(0, ...crossing.map((set) => set.size));
  const margin = cuts.length ? 16 + LANE * Math.min(most, 12) : 0;
  let [top, right] = [0, 0];
  const bounds = [];
  starts.forEach((start, row) => {
    const end = starts[row + 1] ?? layers.length;
    const inRow = layers.slice(start, end);
    const all = inRow.flat();
    const high = all.reduce((least, each) => Math.min(least, each.y - each.height / 2), Number.POSITIVE_INFINITY);
    const low = all.reduce((greatest, each) => Math.max(greatest, each.y + each.height / 2), Number.NEGATIVE_INFINITY);
    let x = margin;
    inRow.forEach((layer, at) => {
      for (const each of layer) {
        each.row = row;
        each.column = { x, width: widths[start + at] };
        each.x = x + (widths[start + at] - each.width) / 2;
        each.y += top - high;
      }
      x += widths[start + at] + gap;
    });
    right = Math.max(right, x - gap);
    const lanes = LANE * Math.min(crossing[row + 1]?.size ?? 0, 12);
    bounds.push({ bottom: top + low - high, lanes: [...(crossing[row + 1] ?? [])] });
    top += low - high + (cuts.length ? 44 + lanes : 0);
  });
  const height = top - (cuts.length ? 44 : 0);
  return { width: right + margin, height, right: right + margin / 2, left: margin / 2, bounds };
}

/** How many lines go from each layer to the next. */
function crossings(layers) {
  return layers.map((layer) =>
    layer.reduce((sum, each) => sum + Number(each.after.length > 0) * (each.weight >= 4 ? 1 : 3), 0),
  );
}

function breaks(widths, cost, gap, most) {
  const total = widths.reduce((sum, each) => sum + each + gap, -gap);
  if (total <= most * 1.3) return [];
  const cuts = breaksAt(widths, cost, gap, most);
  for (const share of [0.6, 0.7, 0.8, 0.9]) {
    const even = breaksAt(widths, cost, gap, most * share); // rows of about the same width, where they are no more
    if (even.length === cuts.length) return even;
  }
  return cuts;
}

function breaksAt(widths, cost, gap, most) {
  const cuts = [];
  let start = 0;
  while (start < widths.length) {
    let [used, best] = [0, 0];
    for (let at = start; at < widths.length; at++) {
      used += widths[at] + (at > start ? gap : 0);
      if (used > most && at > start) break;
      if (at === widths.length - 1) return cuts;
      if (!best || used < most * 0.55 || cost[at] <= cost[best - 1]) best = at + 1;
    }
    cuts.push(best);
    start = best;
  }
  return cuts;
}

/** The lines that cross from layer `start` − 1 to layer `start`. */
function passing(wires, start) {
  return wires
    .filter((wire) => wire.from.layer < start && wire.to.layer >= start)
    .map((wire) => `${wire.from.key}|${wire.value}`);
}

/**
 * The line of a wire as an SVG path, from its source to its user.
 * @param {Wire} wire
 * @param {ReturnType<typeof rows>} frame
 * @param {number} dx
 * @param {number} dy where the level's own corner stands
 */
export function line(wire, frame, dx, dy) {
  const stops = [wire.from, ...wire.chain, wire.to];
  const parts = [];
  let [x, y] = [wire.from.x + wire.from.width, wire.from.y + wire.out];
  const key = `${wire.from.key}|${wire.value}`;
  for (let at = 1; at < stops.length; at++) {
    const to = stops[at];
    const isLast = at === stops.length - 1;
    const [toX, toY] = [isLast ? to.x : to.column.x, to.y + (isLast ? wire.in : 0)];
    parts.push(
      ...(to.row === stops[at - 1].row ? [[x, y, toX, toY]] : around([x, y, toX, toY], frame, stops[at - 1].row, key)),
    );
    if (!isLast) parts.push([toX, toY, to.column.x + to.column.width, toY]);
    [x, y] = isLast ? [toX, toY] : [to.column.x + to.column.width, toY];
  }
  return parts.map(([x1, y1, x2, y2]) => [x1 + dx, y1 + dy, x2 + dx, y2 + dy]);
}

/** To the next row: out at the right, down, back to the left below the row, and in again. */
function around([x, y, toX, toY], frame, row, key) {
  const lane = Math.min(Math.max(frame.bounds[row].lanes.indexOf(key), 0), 12) * LANE;
  const [right, left] = [frame.right + lane / 2, frame.left - lane / 2];
  const middle = frame.bounds[row].bottom + 18 + lane;
  return [
    [x, y, right, y],
    [right, y, right, middle],
    [right, middle, left, middle],
    [left, middle, left, toY],
    [left, toY, toX, toY],
  ];
}
