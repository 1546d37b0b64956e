// Signed numbers as colours: blue below 0, white at 0, vermillion above it.

import { sized } from "../canvas.js";
import { h } from "../dom.js";
import { bytes, number, signed } from "../format.js";
import { color } from "../theme.js";

export const FONT = '11px Roboto, "Segoe UI", system-ui, sans-serif';
const DECADES = 5; // what lies so many powers of ten below the largest number is white
const SHADES = 512;

/** @typedef {{top: number, linear: number}} Scale colours reach to ±top; below `linear` they are proportional */

/**
 * One scale of colours for all steps, symmetric around 0. The logarithmic one lets late and small gradients be seen
 * beside early ones: as in `gradlab/figures/partial_matrices.py`, it is linear up to a tenth of the smallest picture's
 * largest number.
 * @param {import("./partials_data.js").Picture[]} pictures
 * @returns {Scale}
 */
export function scaleOf(pictures, logarithmic) {
  const tops = pictures.map(({ numbers }) =>
    numbers.reduce((top, x) => (Number.isFinite(x) ? Math.max(top, Math.abs(x)) : top), 0),
  );
  const top = Math.max(0, ...tops) || 1;
  if (!logarithmic) return { top, linear: Number.POSITIVE_INFINITY };
  const small = Math.min(top, ...tops.filter((each) => each > 0));
  return { top, linear: Math.max(small / 10, top * 10 ** -DECADES) };
}

/** From −1 to 1; NaN for what is not finite. */
export function share(value, { top, linear }) {
  if (!Number.isFinite(value)) return Number.NaN;
  return linear === Number.POSITIVE_INFINITY ? value / top : Math.asinh(value / linear) / Math.asinh(top / linear);
}

/** From a number to the three bytes of its colour. */
export function painter(scale) {
  const shades = Array.from({ length: SHADES + 1 }, (_, i) => bytes(signed((2 * i) / SHADES - 1)));
  const broken = bytes(signed(Number.NaN));
  return (value) => {
    const place = share(value, scale);
    return Number.isNaN(place) ? broken : shades[Math.round(((Math.min(Math.max(place, -1), 1) + 1) * SHADES) / 2)];
  };
}

/** A picture with a pixel for each cell. */
export function image({ shape: [rows, columns], numbers }, paint) {
  const pixels = new ImageData(columns, rows);
  numbers.forEach((value, i) => {
    pixels.data.set(paint(value), 4 * i);
    pixels.data[4 * i + 3] = 255;
  });
  const canvas = h("canvas", { width: columns, height: rows });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

/** The scale as a bar with ticks. */
export function drawBar(bar, { top, linear }, wide, paint) {
  const [pad, thick] = [26, 9];
  const context = sized(bar, wide + 2 * pad, 28);
  bar.setAttribute(
    "aria-label",
    `colours from ${number(-top, 2)} (blue) over 0 (white) to ${number(top, 2)} (vermillion)`,
  );
  const value = (place) =>
    linear === Number.POSITIVE_INFINITY ? place * top : linear * Math.sinh(place * Math.asinh(top / linear));
  for (let i = 0; i < wide; i++) {
    context.fillStyle = `rgb(${paint(value((2 * i) / (wide - 1) - 1)).join()})`;
    context.fillRect(pad + i, 0, 1, thick);
  }
  context.font = FONT;
  context.textAlign = "center";
  context.textBaseline = "top";
  context.fillStyle = color("--ink");
  for (const place of wide > 250 ? [-1, -0.5, 0, 0.5, 1] : [-1, 0, 1]) {
    const x = pad + ((place + 1) / 2) * wide;
    context.fillRect(Math.round(Math.min(x, pad + wide - 1)), thick, 1, 3);
    context.fillText(number(value(place), 2), x, thick + 4);
  }
}
