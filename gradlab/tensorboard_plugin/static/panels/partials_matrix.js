// A matrix as a picture: a cell for each entry, blue for negative and vermillion for positive numbers.

import { outlined, sized } from "../canvas.js";
import { h, refill } from "../dom.js";
import { bytes, number, signed } from "../format.js";
import { placeOf } from "../series.js";
import { color, onTheme } from "../theme.js";
import { drawBar, FONT, image, painter, scaleOf, share } from "./partials_scale.js";

const PAD = { left: 30, top: 18 }; // pixels for the indices
const MOST = { wide: 520, high: 380, cell: 64 }; // pixels

/**
 * @typedef {{row: number, column: number}} Cell
 */

export class Matrix {
  #canvas = h("canvas", { tabindex: 0, role: "application", "aria-roledescription": "matrix" });
  #bar = h("canvas", { role: "img" });
  #caption = h("figcaption");
  /** @type {import("./partials_data.js").Picture[]} */
  #pictures = [];
  /** @type {import("./partials_data.js").Picture | null} */
  #picture = null;
  /** @type {HTMLCanvasElement | null} of the present picture, a pixel for each cell */
  #small = null;
  /** @type {Cell | null} */
  #cursor = null;
  #pooled = false;
  #scale = { top: 1, linear: 1 };
  #paint = painter(this.#scale);
  #stop;

  /**
   * @param {{title: string, logarithmic: boolean, onmove: (cell: Cell | null) => void, onpick: (cell: Cell) => void}} options
   */
  constructor(options) {
    this.options = options;
    this.element = h("figure", { class: "matrix", hidden: true }, this.#caption, this.#canvas, this.#bar);
    const canvas = this.#canvas;
    canvas.setAttribute("aria-label", `${options.title}. Arrow keys move from entry to entry.`);
    canvas.addEventListener("pointermove", (event) => options.onmove(this.#under(event)));
    canvas.addEventListener("pointerleave", () => options.onmove(null));
    canvas.addEventListener("click", (event) => {
      const cell = this.#under(event);
      if (cell) options.onpick(cell);
    });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("focus", () => this.#cursor ?? options.onmove({ row: 0, column: 0 }));
    canvas.addEventListener("blur", () => options.onmove(null));
    this.#stop = onTheme(() => this.draw());
  }

  destroy() {
    this.#stop();
  }

  /**
   * @param {import("./partials_data.js").Picture[]} pictures of one parameter, which share a scale
   * @param {boolean} pooled whether a cell stands for several entries
   */
  set(pictures, pooled) {
    this.#pictures = pictures;
    this.#pooled = pooled;
    this.#picture = null;
    this.#scale = scaleOf(pictures, this.options.logarithmic);
    this.#paint = painter(this.#scale);
    this.element.hidden = !pictures.length;
  }

  /** The last picture that is not after a step. */
  at(step) {
    const picture = pictureAt(this.#pictures, step);
    if (!picture || picture === this.#picture) return;
    this.#small = image(picture, this.#paint);
    this.#picture = picture;
    refill(this.#caption, h("b", {}, this.options.title), ` at step ${picture.step}: ${largest(picture.numbers)}`);
    this.draw();
  }

  /** @param {Cell | null} cell */
  point(cell) {
    this.#cursor = cell;
    this.draw();
  }

  draw() {
    if (!this.#picture) return;
    const { shape, numbers } = this.#picture;
    const [rows, columns] = shape;
    const outer = this.element.parentElement?.clientWidth || MOST.wide;
    const wide = Math.min(MOST.wide, outer > 760 ? outer / 2 - 24 : outer - 8) - PAD.left;
    const cell = Math.max(Math.min(Math.floor(wide / columns), Math.floor(MOST.high / rows), MOST.cell), 2);
    this.cell = cell;
    const context = sized(this.#canvas, PAD.left + columns * cell + 10, PAD.top + rows * cell + 2);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.#small, PAD.left, PAD.top, columns * cell, rows * cell);
    context.strokeStyle = color("--line");
    context.strokeRect(PAD.left - 0.5, PAD.top - 0.5, columns * cell + 1, rows * cell + 1);
    this.#indices(context, rows, columns);
    if (cell >= 48) this.#written(context, numbers, columns);
    if (this.#cursor) {
      const { row, column } = this.#cursor;
      outlined(context, () => context.rect(PAD.left + column * cell, PAD.top + row * cell, cell, cell));
    }
    drawBar(this.#bar, this.#scale, Math.max(170, Math.min(columns * cell, 320)), this.#paint);
  }

  #indices(context, rows, columns) {
    context.font = FONT;
    context.fillStyle = color("--soft");
    const { cell } = this;
    context.textAlign = "right";
    context.textBaseline = "middle";
    const pooled = this.#pooled;
    const marks = (count, room) => (pooled ? [] : evenly(count, Math.max(1, Math.floor((count * cell) / room))));
    for (const row of marks(rows, 16)) context.fillText(String(row), PAD.left - 4, PAD.top + (row + 0.5) * cell);
    context.textAlign = "center";
    context.textBaseline = "bottom";
    for (const column of marks(columns, 26))
      context.fillText(String(column), PAD.left + (column + 0.5) * cell, PAD.top - 3);
    if (pooled) {
      context.textAlign = "left";
      context.fillText("columns →", PAD.left, PAD.top - 3);
      context.textAlign = "right";
      context.textBaseline = "top";
      context.fillText("rows", PAD.left - 3, PAD.top);
      context.fillText("↓", PAD.left - 3, PAD.top + 13);
    }
  }

  #written(context, numbers, columns) {
    context.textAlign = "center";
    context.textBaseline = "middle";
    numbers.forEach((value, i) => {
      const [r, g, b] = bytes(signed(share(value, this.#scale)));
      context.fillStyle = 0.3 * r + 0.59 * g + 0.11 * b > 120 ? "#000" : "#fff";
      const [row, column] = [Math.floor(i / columns), i % columns];
      context.fillText(number(value, 2), PAD.left + (column + 0.5) * this.cell, PAD.top + (row + 0.5) * this.cell);
    });
  }

  #under(event) {
    if (!this.#picture) return null;
    const box = this.#canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - PAD.left) / this.cell);
    const row = Math.floor((event.clientY - box.top - PAD.top) / this.cell);
    const [rows, columns] = this.#picture.shape;
    return row >= 0 && column >= 0 && row < rows && column < columns ? { row, column } : null;
  }

  #key(event) {
    if (!this.#picture || event.ctrlKey || event.metaKey || event.altKey) return;
    const [rows, columns] = this.#picture.shape;
    const { row, column } = this.#cursor ?? { row: 0, column: 0 };
    const moves = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      Home: [0, -columns],
      End: [0, columns],
    };
    if (event.key in moves) {
      const [down, right] = moves[event.key];
      this.options.onmove({ row: within(row + down, rows), column: within(column + right, columns) });
    } else if (event.key === "Enter") this.options.onpick({ row, column });
    else return;
    event.preventDefault(); // the page's own keys for steps rest here
  }
}

/** The last picture that is not after a step. */
export function pictureAt(pictures, step) {
  const steps = pictures.map((each) => each.step);
  return pictures[placeOf(steps, step)];
}

function largest(numbers) {
  const finite = numbers.filter(Number.isFinite);
  if (!finite.length) return "no finite entry";
  const top = finite.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const broken = numbers.length - finite.length;
  return (top ? `largest ${number(top, 3)}` : "all exactly zero") + (broken ? `, ${broken} NaN or infinite` : "");
}

function evenly(count, most) {
  if (count <= most) return Array.from({ length: count }, (_, i) => i);
  const every = Math.ceil(count / most);
  return Array.from({ length: Math.ceil(count / every) }, (_, i) => i * every);
}

function within(place, count) {
  return Math.min(Math.max(place, 0), count - 1);
}
