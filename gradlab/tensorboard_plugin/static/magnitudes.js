// Magnitudes as colours by power of ten: the scale, the colours beside it, and what to say of them.

import { FONT, sized } from "./canvas.js";
import { h } from "./dom.js";
import { bytes, DISAGREE, NOT_FINITE, number, sequential } from "./format.js";
import { color } from "./theme.js";

export const MISSING = -1; // a magnitude is never negative, so this number can stand for "nothing was recorded"
const SHADES = 256;

/** @typedef {{low: number, high: number, limits: number[]}} Scale powers of ten */

/** The powers of ten between which the colours lie. */
export function scaleOf({ rows, values }) {
  let [low, high] = [Number.POSITIVE_INFINITY, 0];
  for (const value of values) {
    if (value > 0 && Number.isFinite(value)) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  const limits = [...new Set(rows.map((row) => row.limit))].filter((limit) => limit > 0).map(Math.log10);
  if (!high) [low, high] = [0.1, 1];
  low = Math.log10(low);
  high = Math.log10(high);
  if (limits.length) {
    high = Math.max(...limits); // above the limits all is red
    low = Math.min(low, ...limits, high - 2);
  }
  return high - low < 0.1 ? { low: low - 0.5, high: high + 0.5, limits } : { low, high, limits };
}

/** From a magnitude to a pixel; `none` is the colour of 0. */
export function painter({ low, high }, none) {
  const word = (fill) => {
    const [r, g, b] = bytes(fill);
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0; // little-endian, as all of today's machines are
  };
  const shades = Uint32Array.from({ length: SHADES }, (_, i) => word(sequential(i / (SHADES - 1))));
  const [zero, broken, missing, above] = [none, NOT_FINITE, opaque("--line"), DISAGREE].map(word);
  const slope = (SHADES - 1) / (high - low);
  return (value, limit = Number.POSITIVE_INFINITY) => {
    if (value === MISSING) return missing;
    if (value === 0) return zero;
    if (!Number.isFinite(value)) return broken;
    if (value > limit) return above;
    const shade = Math.round((Math.log10(value) - low) * slope);
    return shades[Math.min(Math.max(shade, 0), SHADES - 1)];
  };
}

function opaque(name) {
  const found = color(name);
  return found.length === 7 ? found : "#999999";
}

/**
 * For each row and column the place of the step that it shows: the largest, and before all what is not finite.
 * @param {import("./heatmap.js").Table} table
 * @param {number} columns at most as many as there are steps
 * @returns {Int32Array} rows × columns
 */
export function binned({ rows, steps, values }, columns) {
  const shown = new Int32Array(rows.length * columns);
  for (let row = 0; row < rows.length; row++) {
    for (let column = 0; column < columns; column++) {
      const end = Math.floor(((column + 1) * steps.length) / columns);
      let best = Math.floor((column * steps.length) / columns);
      for (let place = best + 1; place < end; place++) {
        if (exceeds(values[row * steps.length + place], values[row * steps.length + best])) best = place;
      }
      shown[row * columns + column] = best;
    }
  }
  return shown;
}

/** Whether a magnitude is drawn rather than another: what is not finite before the larger one. */
function exceeds(a, b) {
  if (!Number.isFinite(b)) return false;
  return !Number.isFinite(a) || a > b;
}

/**
 * What the colours mean: the scale as a bar with ticks, and the colours that are none of its.
 * @typedef {{title: string, zero: string, none: string, above?: string, missing: string}} Words
 *   `none` is the colour of what is exactly 0
 * @param {import("./heatmap.js").Table} table
 * @param {Scale} scale
 * @param {Words} words
 * @returns {(HTMLElement | null)[]}
 */
export function legend(table, scale, words) {
  const range = `${words.title}, from ${number(10 ** scale.low, 2)} to ${number(10 ** scale.high, 2)}`;
  const bar = h("canvas", { role: "img", "aria-label": range });
  drawScale(bar, scale);
  const has = occurring(table);
  return [
    h("span", { class: "key" }, words.title, bar),
    has.above && words.above ? swatch(DISAGREE, words.above) : null,
    has.zero ? swatch(words.none, words.zero) : null,
    has.broken ? swatch(NOT_FINITE, "NaN or infinite") : null,
    has.missing ? swatch("var(--line)", words.missing) : null,
  ];
}

function swatch(fill, text) {
  const square = h("span", { class: "swatch" });
  square.style.setProperty("background", fill);
  return h("span", { class: "key" }, square, text);
}

function occurring({ rows, steps, values }) {
  const has = { zero: false, broken: false, missing: false, above: false };
  rows.forEach(({ limit }, row) => {
    for (const value of values.subarray(row * steps.length, (row + 1) * steps.length)) {
      if (value === MISSING) has.missing = true;
      else if (value === 0) has.zero = true;
      else if (!Number.isFinite(value)) has.broken = true;
      else if (value > limit) has.above = true;
    }
  });
  return has;
}

function drawScale(bar, { low, high, limits }) {
  const [wide, pad, thick] = [230, 30, 10];
  const context = sized(bar, wide + 2 * pad, 30);
  for (let i = 0; i < wide; i++) {
    context.fillStyle = sequential(i / (wide - 1));
    context.fillRect(pad + i, 0, 1, thick);
  }
  const at = (level) => pad + ((level - low) / (high - low)) * wide;
  context.font = FONT;
  context.textAlign = "center";
  context.textBaseline = "top";
  context.fillStyle = color("--ink");
  const every = Math.max(1, Math.ceil((high - low) / 4));
  const levels = [low, high];
  for (let level = Math.ceil(low); level < high; level += every) {
    if (at(level) > pad + 45 && at(level) < pad + wide - 45) levels.push(level);
  }
  for (const level of levels) {
    context.fillRect(Math.round(at(level)), thick, 1, 4);
    context.fillText(Number.isInteger(level) ? power(level) : number(10 ** level, 2), at(level), thick + 5);
  }
  context.fillStyle = DISAGREE;
  for (const limit of limits) context.fillRect(Math.round(at(limit)) - 1, 0, 3, thick + 4);
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A power of ten, such as 10⁻³. */
function power(exponent) {
  if (exponent === 0) return "1";
  const digits = [...String(Math.abs(exponent))].map((digit) => SUPERSCRIPTS[Number(digit)]).join("");
  return `10${exponent < 0 ? "⁻" : ""}${digits}`;
}
