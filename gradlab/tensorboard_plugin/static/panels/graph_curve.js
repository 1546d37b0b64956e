// A small picture of curves over the steps, with a mark at the present one.

import { svg } from "../dom.js";
import { number } from "../format.js";

const WIDTH = 300;
const HEIGHT = 110;
const LEFT = 58;
const BOTTOM = 18;
const TOP = 8;

/**
 * @param {Map<string, {steps: number[], values: number[]}>} curves by name
 * @param {string} title what is drawn, for those who hear it
 * @returns {{element: SVGElement, mark: (step: number) => void}}
 */
export function plot(curves, title) {
  const all = [...curves.values()];
  const steps = all.flatMap((curve) => [curve.steps[0], curve.steps.at(-1)]);
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  const [low, high] = range(all);
  const x = (step) => LEFT + ((WIDTH - LEFT - 8) * (step - first)) / Math.max(last - first, 1);
  const y = (value) => TOP + ((HEIGHT - TOP - BOTTOM) * (high - value)) / (high - low);
  const mark = svg("line", { class: "mark", y1: TOP, y2: HEIGHT - BOTTOM });
  const zero =
    low < 0 && high > 0 ? svg("line", { class: "axis zero", x1: LEFT, x2: WIDTH - 8, y1: y(0), y2: y(0) }) : null;
  const element = svg(
    "svg",
    {
      class: "curve",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": `${title}, steps ${first} to ${last}`,
    },
    svg("path", { class: "axis", d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - 8}` }),
    zero,
    [...curves].map(([name, curve], at) => {
      return svg("path", { class: `stroke s${at % 6}`, d: path(curve, x, y) }, svg("title", {}, name));
    }),
    svg("text", { x: LEFT - 5, y: TOP + 7, "text-anchor": "end" }, number(high, 3)),
    svg("text", { x: LEFT - 5, y: HEIGHT - BOTTOM, "text-anchor": "end" }, number(low, 3)),
    svg("text", { x: LEFT, y: HEIGHT - 4 }, `step ${first}`),
    svg("text", { x: WIDTH - 8, y: HEIGHT - 4, "text-anchor": "end" }, last),
    mark,
  );
  const place = (step) => {
    const at = x(Math.min(Math.max(step, first), last));
    mark.setAttribute("x1", at);
    mark.setAttribute("x2", at);
  };
  return { element, mark: place };
}

function range(curves) {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of curves.flatMap((curve) => curve.values)) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  if (low === high) return [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  return [low, high];
}

/** What is not finite leaves a gap. */
function path({ steps, values }, x, y) {
  let isOn = false;
  const every = Math.max(1, Math.floor(steps.length / 2000));
  const parts = [];
  for (let at = 0; at < steps.length; at += every) {
    const isShown = Number.isFinite(values[at]);
    if (isShown) parts.push(`${isOn ? "L" : "M"}${x(steps[at]).toFixed(1)} ${y(values[at]).toFixed(1)}`);
    isOn = isShown;
  }
  return parts.join("");
}
