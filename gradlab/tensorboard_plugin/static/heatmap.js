// A matrix of magnitudes as a picture: rows with names, a column for each step, colours by power of ten.
//
// Two canvases lie on each other: the picture, drawn when data or size change, and marks, drawn when the step or the
// cursor move. Where there are more steps than columns of pixels, a column shows the largest of its steps.

import { FONT, longest, outlined, shortened, sized, ticks } from "./canvas.js";
import { h, refill } from "./dom.js";
import { binned, legend, painter, scaleOf } from "./magnitudes.js";
import { color, onTheme } from "./theme.js";

const AXIS = 34; // pixels below the picture
const TOP = 8; // pixels above it, for the first name
const ROW = [2, 28]; // pixels that a row takes, at least and at most
const LETTER = 14; // pixels that a row's name takes

/**
 * @typedef {{label: string, limit?: number, mark?: string}} Row `limit`: what is larger is drawn in red
 * @typedef {{rows: Row[], steps: number[], values: Float64Array}} Table rows × steps; `MISSING` where there is nothing
 * @typedef {{row: number, place: number, value: number}} Cell `place`: which of the steps
 */

export class Heatmap {
  #picture = h("canvas");
  #marks = h("canvas");
  #cursor = null; // {row, column}
  #stop = [];
  #step = 0; // place
  #width = 0;

  legend = h("div", { class: "legend" });

  /**
   * @param {{name: string, words: import("./magnitudes.js").Words, axis: string, share?: number, onmove: (cell: Cell | null) => void, onpick: (cell: Cell) => void}} options
   *   `share`: how much of the height that is left on the page it may take
   */
  constructor(options) {
    this.options = options;
    /** @type {Table} */
    this.table = { rows: [], steps: [], values: new Float64Array() };
    this.element = h(
      "div",
      {
        class: "heatmap",
        tabindex: 0,
        role: "application",
        "aria-label": options.name,
        "aria-roledescription": "heatmap",
      },
      this.#picture,
      this.#marks,
    );
    const { element } = this;
    element.addEventListener("pointermove", (event) => this.#point(event));
    element.addEventListener("pointerleave", () => document.activeElement !== element && this.#move(null));
    element.addEventListener("click", (event) => {
      this.#point(event);
      this.#pick();
    });
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("focus", () => this.#cursor ?? this.#move({ row: 0, column: this.#column(this.#step) }));
    element.addEventListener("blur", () => this.#move(null));
    const sized = new ResizeObserver(() => element.clientWidth !== this.#width && this.draw());
    sized.observe(element);
    this.#stop = [() => sized.disconnect(), onTheme(() => this.draw())];
  }

  destroy() {
    for (const stop of this.#stop) stop();
  }

  /** @param {Table} table */
  set(table) {
    this.table = table;
    this.scale = scaleOf(table);
    this.draw();
    this.options.onmove(this.#cell());
  }

  /** The vertical line goes to a step. */
  at(place) {
    this.#step = place;
    this.#drawMarks();
  }

  draw() {
    const { rows, steps } = this.table;
    this.#width = this.element.clientWidth;
    if (!this.#width || !rows.length || !steps.length) return;
    const marked = rows.some((row) => row.mark);
    const widths = {
      label: longest(rows.map((row) => row.label)),
      mark: marked ? longest(rows.map((row) => row.mark ?? "")) : 0,
    };
    const left = Math.min(widths.label + 10, this.#width * 0.34);
    const right = marked ? Math.min(widths.mark + 10, this.#width * 0.26) : 4;
    const below = window.innerHeight - this.element.getBoundingClientRect().top - TOP - AXIS - 24;
    const room = Math.max(160, below * (this.options.share ?? 1));
    const tall = Math.min(Math.max(Math.floor(room / rows.length), ROW[0]), ROW[1]);
    const wide = Math.max(40, Math.floor(this.#width - left - right));
    this.place = { left, right, wide, tall, high: tall * rows.length, columns: Math.min(steps.length, wide) };
    this.element.style.setProperty("height", `${TOP + this.place.high + AXIS}px`);
    this.shown = binned(this.table, this.place.columns);
    if (this.#cursor) this.#cursor = this.#within(this.#cursor.row, this.#cursor.column); // there may be fewer
    const context = this.#blank(this.#picture);
    this.#drawCells(context);
    this.#drawNames(context);
    this.#drawAxis(context);
    this.#drawMarks();
    refill(this.legend, ...legend(this.table, this.scale, this.options.words));
  }

  /** A canvas whose origin is the upper edge of the picture. */
  #blank(canvas) {
    const context = sized(canvas, this.#width, TOP + this.place.high + AXIS);
    context.translate(0, TOP);
    return context;
  }

  #within(row, column) {
    const clamped = (place, count) => Math.min(Math.max(place, 0), count - 1);
    return { row: clamped(row, this.table.rows.length), column: clamped(column, this.place.columns) };
  }

  #drawCells(context) {
    const { rows, steps, values } = this.table;
    const { columns, left, wide, high } = this.place;
    const image = new ImageData(columns, rows.length);
    const paint = painter(this.scale, this.options.words.none);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < pixels.length; i++) {
      const row = Math.floor(i / columns);
      pixels[i] = paint(values[row * steps.length + this.shown[i]], rows[row].limit);
    }
    const small = h("canvas", { width: columns, height: rows.length });
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, left, 0, wide, high);
    context.strokeStyle = color("--line");
    context.strokeRect(left - 0.5, -0.5, wide + 1, high + 1);
  }

  #drawNames(context) {
    const { rows } = this.table;
    const { left, tall } = this.place;
    const every = Math.ceil(LETTER / tall);
    context.font = FONT;
    context.textBaseline = "middle";
    rows.forEach((row, i) => {
      const y = (i + 0.5) * tall;
      context.textAlign = "right";
      context.fillStyle = color("--ink");
      if (i % every === 0) context.fillText(shortened(context, row.label, left - 8), left - 6, y);
    });
    this.#drawRowMarks(context);
  }

  /** A bar beside each marked row, and its words where there is room; rare ones first. */
  #drawRowMarks(context) {
    const { left, right, wide, tall } = this.place;
    const marked = this.table.rows
      .map((row, i) => ({ mark: row.mark, y: (i + 0.5) * tall }))
      .filter(({ mark }) => mark);
    const counts = new Map();
    for (const { mark } of marked) counts.set(mark, (counts.get(mark) ?? 0) + 1);
    const written = [];
    context.textAlign = "left";
    context.fillStyle = color("--warn");
    for (const { mark, y } of marked.sort((a, b) => counts.get(a.mark) - counts.get(b.mark))) {
      context.fillRect(left + wide + 1, y - tall / 2, 3, tall);
      if (written.some((other) => Math.abs(other - y) < LETTER)) continue;
      written.push(y);
      context.fillText(shortened(context, mark, right - 8), left + wide + 7, y);
    }
  }

  #drawAxis(context) {
    const { steps } = this.table;
    const { left, wide, high, columns } = this.place;
    context.font = FONT;
    context.textBaseline = "top";
    context.textAlign = "center";
    context.fillStyle = color("--soft");
    let free = 0; // where the next label may begin
    for (const place of ticks(steps, wide / 70)) {
      const x = left + ((this.#column(place) + 0.5) * wide) / columns;
      const half = context.measureText(steps[place]).width / 2;
      context.fillRect(Math.round(x), high, 1, 4);
      if (x - half < free) continue;
      context.fillText(String(steps[place]), Math.min(x, this.#width - half), high + 5);
      free = x + half + 8;
    }
    context.fillText(this.options.axis, left + wide / 2, high + 19);
  }

  #drawMarks() {
    if (!this.place) return;
    const { left, wide, high, tall, columns } = this.place;
    const context = this.#blank(this.#marks);
    const cell = wide / columns;
    const x = left + (this.#column(this.#step) + 0.5) * cell;
    outlined(context, () => {
      context.moveTo(x, 0);
      context.lineTo(x, high + 5);
    });
    if (!this.#cursor) return;
    const { row, column } = this.#cursor;
    const size = Math.max(cell, 6);
    outlined(context, () =>
      context.rect(left + (column + 0.5) * cell - size / 2, row * tall + 0.5, size, Math.max(tall, 6) - 1),
    );
  }

  #column(place) {
    const { steps } = this.table;
    return steps.length && this.place
      ? Math.min(Math.floor(((place + 0.5) * this.place.columns) / steps.length), this.place.columns - 1)
      : 0;
  }

  #point(event) {
    if (!this.place) return;
    const box = this.element.getBoundingClientRect();
    const { left, wide, high, tall, columns } = this.place;
    const x = event.clientX - box.left - left;
    const y = event.clientY - box.top - TOP;
    const inside = x >= 0 && x < wide && y >= 0 && y < high;
    this.#move(inside ? { row: Math.floor(y / tall), column: Math.floor((x * columns) / wide) } : null);
  }

  #move(cursor) {
    this.#cursor = cursor;
    this.#drawMarks();
    this.options.onmove(this.#cell());
  }

  /** @returns {Cell | null} */
  #cell() {
    if (!this.#cursor || !this.place) return null;
    const { row, column } = this.#cursor;
    const place = this.shown[row * this.place.columns + column];
    return { row, place, value: this.table.values[row * this.table.steps.length + place] };
  }

  #pick() {
    const cell = this.#cell();
    if (cell) this.options.onpick(cell);
  }

  #key(event) {
    if (!this.place || event.ctrlKey || event.metaKey || event.altKey) return;
    const { row, column } = this.#cursor ?? { row: 0, column: this.#column(this.#step) };
    const far = event.shiftKey ? 10 : 1;
    const to = (r, c) => this.#move(this.#within(r, c));
    const actions = {
      ArrowUp: () => to(row - far, column),
      ArrowDown: () => to(row + far, column),
      ArrowLeft: () => to(row, column - far),
      ArrowRight: () => to(row, column + far),
      Home: () => to(row, 0),
      End: () => to(row, this.place.columns),
      Enter: () => this.#pick(),
    };
    if (!(event.key in actions)) return;
    event.preventDefault(); // the page's own keys for steps rest here
    actions[event.key]();
  }
}
