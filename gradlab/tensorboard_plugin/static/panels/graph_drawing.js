// The picture: boxes, lines and their numbers. It is built once for what is open; a step changes numbers only.

import { svg } from "../dom.js";
import { titleOf } from "./graph_layout.js";
import { compared, flowing, kindOf, largest, textOn, together, verdict } from "./graph_measures.js";

const THINNEST = 1.2;
const WIDEST = 7;
const HEAD = 9; // length of an arrow's head
const DECADES = 6; // from the largest gradient of a step to the thinnest line
const LABEL = { character: 6.1, height: 14 };
const REST = 120; // milliseconds of quiet until what is out of sight is brought up to date

/**
 * @typedef {import("./graph_layout.js").Box} Box
 * @typedef {import("./graph_layout.js").Line} Line
 */

export class Drawing {
  /**
   * @param {import("./graph_tree.js").Tree} tree
   * @param {ReturnType<typeof import("./graph_layout.js").arranged>} layout
   */
  constructor(tree, layout) {
    this.tree = tree;
    this.layout = layout;
    const frames = svg("g", { class: "frames" });
    const lines = svg("g", { class: "lines" });
    const labels = svg("g", { class: "labels", "aria-hidden": "true" });
    const nodes = svg("g", { class: "nodes" });
    this.boxes = layout.boxes.map((box) => (box.isOpen ? frame(tree, box) : closed(tree, box)));
    for (const each of this.boxes) (each.box.isOpen ? frames : nodes).append(each.element);
    const spots = labelled(tree, layout);
    this.lines = layout.lines.map((line, at) => drawnLine(line, spots[at]));
    for (const { path, label } of this.lines) {
      lines.append(path);
      if (label) labels.append(label);
    }
    this.byItem = new Map(this.boxes.map((each) => [each.box.item, each]));
    this.element = svg("g", {}, frames, lines, nodes, labels);
    this.rest = 0;
  }

  /**
   * Shows a step.
   * @param {import("../graph_data.js").Snapshot} snapshot
   * @param {"sign" | "agreement"} colours
   * @param {{x: number, y: number, width: number, height: number, isFar: boolean}} window what is in sight comes at once;
   *   from afar, where no text can be read, only lines and marks
   */
  show(snapshot, colours, window) {
    Object.assign(this, { snapshot, colours, most: largest(snapshot) });
    for (const each of [...this.boxes, ...this.lines]) each.isStale = true;
    this.refresh(window);
  }

  /** Brings up to date what is in sight, and a little later everything else. */
  refresh(window) {
    if (!this.snapshot) return;
    this.element.classList.toggle("far", window.isFar);
    for (const each of this.lines) if (each.isStale && meets(each.bounds, window)) this.#weigh(each);
    for (const each of this.boxes) {
      if (!each.isStale || !meets(each.box, window)) continue;
      this.#mark(each);
      if (!window.isFar) this.#number(each);
    }
    clearTimeout(this.rest);
    this.rest = setTimeout(() => this.#finish(), REST);
  }

  #finish() {
    for (const each of this.lines) if (each.isStale) this.#weigh(each);
    for (const each of this.boxes) {
      if (!each.isStale) continue;
      each.isStale = false;
      this.#mark(each);
      this.#number(each);
      each.element.setAttribute("aria-label", spoken(each));
    }
  }

  destroy() {
    clearTimeout(this.rest);
  }

  #number(each) {
    const { item, isOpen } = each.box;
    if (isOpen) return;
    for (const [at, text] of textOn(this.snapshot, this.tree, item).entries()) write(each, at, text);
  }

  #mark(each) {
    const said = this.#verdict(each.box.item);
    if (said === each.said) return;
    each.element.classList.remove(each.said);
    each.element.classList.add(said);
    each.said = said;
  }

  #verdict(item) {
    const { snapshot, tree } = this;
    if (item.kind === "operation") return verdict(snapshot, snapshot.structure.operations[item.place]);
    if (item.kind === "leaf") return verdict(snapshot, tree.values.get(item.name));
    if (item.kind === "group") return together(snapshot, item.places);
    return Number.isFinite(snapshot.at(snapshot.structure.loss)) ? "none" : "odd";
  }

  #weigh(each) {
    each.isStale = false;
    const { snapshot, tree, most } = this;
    const flow = flowing(snapshot, tree, each.line);
    const kind = this.#kind(flow, each.line);
    if (kind !== each.kind) {
      each.path.classList.remove(each.kind);
      each.path.classList.add(kind);
      each.label?.classList.remove(each.kind);
      each.label?.classList.add(kind);
      each.kind = kind;
    }
    const width = (flow ? thickness(flow.l2, most) : 1).toFixed(1);
    if (width !== each.width) {
      each.path.setAttribute("stroke-width", width);
      each.width = width;
    }
    const text = flow?.text ?? "";
    if (each.label && text !== each.text) {
      each.label.textContent = text;
      each.text = text;
    }
  }

  /** The class that colours a line. */
  #kind(flow, line) {
    if (!flow) return "still";
    if (!Number.isFinite(flow.l2)) return "odd";
    const { operations, edges } = this.snapshot.structure;
    if (this.colours === "sign")
      return flow.l2 === 0 ? "zero" : flow.mean > 0 ? "positive" : flow.mean < 0 ? "negative" : "zero";
    const said = line.edges.map((edge) => compared(this.snapshot, operations[edges[edge].operation].agreement));
    return ["disagree", "agree"].find((each) => said.includes(each)) ?? "none";
  }
}

/** The width of a line for a norm, relative to the largest: by decades. */
export function thickness(l2, most) {
  if (!Number.isFinite(l2)) return WIDEST / 2;
  if (!(l2 > 0) || !(most > 0)) return THINNEST;
  const share = 1 + Math.log10(l2 / most) / DECADES;
  return THINNEST + (WIDEST - THINNEST) * Math.min(Math.max(share, 0), 1);
}

function write(each, at, text) {
  const line = each.texts[at];
  if (!line || each.written[at] === text) return;
  line.textContent = text;
  each.written[at] = text;
}

function spoken(each) {
  const words = { disagree: "manual and autograd disagree", odd: "not finite" }[each.said];
  return [each.full, ...each.texts.map((line) => line.textContent), words].filter(Boolean).join(", ");
}

function hooks(item) {
  const kind = item.kind === "group" ? "module" : item.kind === "leaf" ? "value" : item.kind;
  return { class: `box ${item.kind} ${item.role ?? ""}`, [`data-${kind}`]: item.name, "data-id": item.id };
}

function fullName(tree, item) {
  if (item.kind === "operation") {
    const { name, outputs } = tree.structure.operations[item.place];
    return outputs.length === 1 && outputs[0] !== name ? `${name} → ${outputs[0]}` : name;
  }
  if (item.kind === "leaf") return `${kindOf(item.role)} ${item.name}`;
  return item.kind === "group" ? `module ${item.name}` : "loss";
}

function closed(tree, box) {
  const { item, width, height } = box;
  const full = fullName(tree, item);
  const isRound = item.kind === "leaf" || item.kind === "loss";
  const rows = height > 44 ? 2 : 1;
  const texts = Array.from({ length: rows }, (_, at) => {
    return svg("text", { class: "number", x: width / 2, y: 31 + at * 15, "text-anchor": "middle" });
  });
  const element = svg(
    "g",
    { ...hooks(item), transform: `translate(${box.x} ${box.y})`, tabindex: -1, "aria-label": full, role: "button" },
    item.kind === "group" ? svg("rect", { class: "behind", x: 4, y: 4, width, height, rx: 5 }) : null,
    svg("rect", { class: "body", width, height, rx: isRound ? 16 : 5 }),
    svg("title", {}, full),
    svg("text", { class: "name", x: width / 2, y: 16, "text-anchor": "middle" }, titleOf(tree, item)),
    item.kind === "group" ? svg("text", { class: "sign", x: width - 13, y: 17 }, "+") : null,
    texts,
  );
  if (item.kind === "group") element.setAttribute("aria-expanded", "false");
  return { box, element, texts, written: [], full, said: "none", isStale: true };
}

function frame(tree, box) {
  const { item, width, height } = box;
  const full = fullName(tree, item);
  const head = svg(
    "g",
    { class: "head" },
    svg("rect", { class: "strip", width, height: 22, rx: 5 }),
    svg("title", {}, `${full}: fold`),
    svg("text", { class: "sign", x: 8, y: 16 }, "−"),
    svg("text", { class: "name", x: 22, y: 16 }, titleOf(tree, item)),
  );
  const element = svg(
    "g",
    {
      ...hooks(item),
      transform: `translate(${box.x} ${box.y})`,
      tabindex: -1,
      "aria-label": full,
      role: "button",
      "aria-expanded": "true",
    },
    svg("rect", { class: "body", width, height, rx: 7 }),
    head,
  );
  element.classList.add("open");
  return { box, element, texts: [], written: [], full, said: "none", isStale: true };
}

function drawnLine(line, spot) {
  const path = svg("path", { class: "line", d: drawnBack(line.parts), "marker-end": "url(#graph-arrow)" });
  path.dataset.flow = line.value;
  const label = spot ? svg("text", { class: "label", x: spot.x, y: spot.y, "text-anchor": "middle" }) : null;
  return { line, path, label, bounds: boundsOf(line.parts), kind: "none", width: "", text: "", isStale: true };
}

/** The path of a line from its user back to its source, as the gradient flows. */
function drawnBack(parts) {
  if (!parts.length) return "";
  const [[x1, y1, x2, y2], ...others] = parts;
  const back = [[Math.min(x1 + HEAD, x2), y1, x2, y2], ...others].reverse(); // the head reaches from there to the box
  const drawn = back.map(([x, y, toX, toY]) => {
    if (y === toY || x === toX) return `L${round(x)} ${round(y)}`;
    const bend = Math.min(Math.max(Math.abs(toX - x) / 2, 12), 60);
    return `C${round(toX - bend)} ${round(toY)} ${round(x + bend)} ${round(y)} ${round(x)} ${round(y)}`;
  });
  return `M${round(back[0][2])} ${round(back[0][3])}${drawn.join("")}`;
}

function round(x) {
  return Math.round(x * 10) / 10;
}

function boundsOf(parts) {
  const xs = parts.flatMap(([x1, , x2]) => [x1, x2]);
  const ys = parts.flatMap(([, y1, , y2]) => [y1, y2]);
  const [x, y] = [Math.min(...xs) - 8, Math.min(...ys) - 8];
  return { x, y, width: Math.max(...xs) + 8 - x, height: Math.max(...ys) + 8 - y };
}

function meets(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

/** Where the number of each line can stand: beside all lines, or else on its own one; undefined where it cannot. */
function labelled(tree, { boxes, lines }) {
  if (!tree.isSmall) return [];
  const taken = boxes.filter((box) => !box.isOpen).map(({ x, y, width, height }) => ({ x, y, width, height }));
  const strokes = lines.flatMap(({ parts }) => parts.flatMap(([x1, y1, x2, y2]) => dots(x1, y1, x2, y2)));
  return lines.map((line) => {
    const isMany = line.edges.some((edge) =>
      tree.structure.edges[edge].downstream?.numbers?.shape.some((size) => size > 1),
    );
    const width = LABEL.character * (isMany ? 18 : 9);
    const room = ({ x, y }) => ({ x: x - width / 2, y: y - LABEL.height + 3, width, height: LABEL.height });
    const isFree = (spot, things) => things.every((each) => !meets(each, room(spot)));
    const spots = candidates(line.parts).filter((spot) => isFree(spot, taken));
    const spot = spots.find((each) => !each.isOn && isFree(each, strokes)) ?? spots.find((each) => each.isOn);
    if (spot) taken.push(room(spot));
    return spot;
  });
}

/** Places above, below and on a line, from its middle outwards, its source first. */
function candidates(parts) {
  const long = parts.filter(([x1, , x2]) => Math.abs(x2 - x1) > 30);
  const shares = [0.5, 0.6, 0.4, 0.7, 0.3, 0.8];
  return long.flatMap(([x1, y1, x2, y2]) =>
    shares.flatMap((share) => {
      const [x, y] = pointOn(x1, y1, x2, y2, share);
      return [-8, 18, -14, 24, 4].map((dy) => ({ x, y: y + dy, isOn: dy === 4 }));
    }),
  );
}

function pointOn(x1, y1, x2, y2, share) {
  const smooth = share * share * (3 - 2 * share); // near enough to the curve that is drawn
  return [x1 + (x2 - x1) * share, y1 + (y2 - y1) * smooth];
}

function dots(x1, y1, x2, y2) {
  return [0.15, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85].map((share) => {
    const [x, y] = pointOn(x1, y1, x2, y2, share);
    return { x: x - 2, y: y - 2, width: 4, height: 4 };
  });
}
