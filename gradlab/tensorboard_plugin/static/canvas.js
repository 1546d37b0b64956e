// What every picture on a canvas needs: sharp pixels, names that fit, ticks at round numbers.

import { h } from "./dom.js";
import { placeOf } from "./series.js";

export const FONT = '12px Roboto, "Segoe UI", system-ui, sans-serif';

/** A canvas of so many pixels of the page, sharp on any screen and empty. */
export function sized(canvas, wide, high) {
  const dots = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(wide * dots), Math.round(high * dots)];
  if (canvas.width !== across) canvas.width = across;
  if (canvas.height !== down) canvas.height = down;
  canvas.style.setProperty("width", `${wide}px`);
  canvas.style.setProperty("height", `${high}px`);
  const context = canvas.getContext("2d");
  context.setTransform(dots, 0, 0, dots, 0, 0);
  context.clearRect(0, 0, wide, high);
  return context;
}

/** A line in black with white beside it, which shows on every colour. */
export function outlined(context, path) {
  for (const [style, width] of [
    ["#fff", 3],
    ["#000", 1],
  ]) {
    context.beginPath();
    path();
    context.strokeStyle = style;
    context.lineWidth = width;
    context.stroke();
  }
}

/** How wide the longest of several texts is, in pixels. */
export function longest(texts) {
  const context = h("canvas").getContext("2d");
  context.font = FONT;
  return Math.max(0, ...texts.map((text) => context.measureText(text).width));
}

/** A name with its middle left out, so that it fits. */
export function shortened(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  for (let kept = text.length - 1; kept > 2; kept--) {
    const head = Math.ceil(kept / 2);
    const short = `${text.slice(0, head)}…${text.slice(text.length - (kept - head))}`;
    if (context.measureText(short).width <= width) return short;
  }
  return "…";
}

/** The places of about so many steps with round numbers. */
export function ticks(steps, count) {
  const range = steps.at(-1) - steps[0];
  if (!range) return [0];
  const rough = range / Math.max(count, 1);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const every = Math.max(1, [1, 2, 5, 10].find((n) => n * unit >= rough) * unit);
  const found = new Set();
  for (let step = Math.ceil(steps[0] / every) * every; step <= steps.at(-1); step += every)
    found.add(placeOf(steps, step));
  return [...found];
}
