// What part of a surface is shown, and how its heights become colours and places on the screen.

import { bytes, sequential } from "../format.js";
import { extent } from "./surface_data.js";

const LEVELS = 24;

/**
 * The rectangle that is shown.
 * @typedef {{low: number[], high: number[]}} View
 */

/**
 * The part in which points lie, with a margin, and at least a third of the grid; without a grid, that of the points.
 * @param {import("./surface_data.js").Landscape | null} landscape
 * @param {number[][]} points
 * @param {boolean} whole the whole grid
 * @returns {View}
 */
export function viewOf(landscape, points, whole) {
  const finite = points.filter((point) => point.every(Number.isFinite));
  const [low, high] = landscape
    ? [
        [landscape.x[0], landscape.y[0]],
        [landscape.x.at(-1), landscape.y.at(-1)],
      ]
    : around(finite);
  if (whole || !landscape || !finite.length) return { low, high };
  const inside = finite.map((point) => point.map((each, i) => Math.min(Math.max(each, low[i]), high[i])));
  const near = [0, 1].map((i) => Math.min(...inside.map((point) => point[i])));
  const far = [0, 1].map((i) => Math.max(...inside.map((point) => point[i])));
  // The same for both directions where the grid allows it: only then are right angles seen as such.
  const half = Math.max(...[0, 1].flatMap((i) => [(far[i] - near[i]) * 0.65, (high[i] - low[i]) / 6]));
  return {
    low: [0, 1].map((i) => Math.max(low[i], (near[i] + far[i]) / 2 - half)),
    high: [0, 1].map((i) => Math.min(high[i], (near[i] + far[i]) / 2 + half)),
  };
}

function around(points) {
  const pairs = [0, 1].map((i) => extent(points.map((point) => point[i])));
  const padded = pairs.map(([a, b]) => (Number.isNaN(a) ? [-1, 1] : [a - margin(a, b), b + margin(a, b)]));
  return [padded.map(([a]) => a), padded.map(([, b]) => b)];
}

function margin(a, b) {
  return 0.1 * (b - a) || 0.5;
}

/**
 * Heights in view as shares from 0 to 1, in bands. They are even in the logarithm of the height above the minimum, since
 * near a minimum a surface is so flat that even heights would show nothing; without a known minimum, in the height.
 */
export class Scale {
  constructor(landscape, view) {
    const seen = inView(landscape, view);
    const [lowest, highest] = extent(seen);
    const isKnown = landscape.minimizers.length > 0;
    this.floor = isKnown ? Math.min(0, lowest) : 0;
    this.isLog = isKnown && highest > lowest;
    this.high = highest - this.floor;
    this.low = this.isLog ? Math.max(lowest - this.floor, 1e-4 * this.high) : lowest;
    if (!(this.high > this.low)) this.high = this.low + Math.max(1, Math.abs(this.low)); // a plain
    this.colors = Array.from({ length: LEVELS }, (_, band) => bytes(sequential(band / (LEVELS - 1))));
  }

  /** 0 at the lowest that is told apart, 1 at the highest in view; NaN for NaN. */
  share(z) {
    const above = z - this.floor;
    if (!this.isLog) return (above - this.low) / (this.high - this.low);
    if (above <= this.low) return 0;
    return Math.log(above / this.low) / Math.log(this.high / this.low);
  }

  /** The band of a height, −1 for one that is not finite. */
  band(z) {
    const share = this.share(z);
    if (!Number.isFinite(share)) return -1;
    return Math.min(Math.max(Math.floor(share * LEVELS), 0), LEVELS - 1);
  }

  /** The height at a share. */
  height(share) {
    if (!this.isLog) return this.floor + this.low + share * (this.high - this.low);
    return this.floor + this.low * (this.high / this.low) ** share;
  }
}

function inView({ x, y, z }, view) {
  const rows = [...y.keys()].filter((i) => view.low[1] <= y[i] && y[i] <= view.high[1]);
  const columns = [...x.keys()].filter((j) => view.low[0] <= x[j] && x[j] <= view.high[0]);
  return rows.flatMap((i) => columns.map((j) => z[i * x.length + j]));
}

/** Round numbers within an interval, about as many as asked for. */
export function ticks(low, high, count = 6) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? rough;
  const first = Math.ceil(low / step);
  const length = Math.max(0, Math.min(50, Math.floor(high / step + 1e-9) - first + 1));
  return Array.from({ length }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Powers of ten within an interval of positive numbers; where those are few, their double and fivefold too. */
export function decadeTicks(low, high) {
  const powers = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p++) powers.push(10 ** p);
  const all = powers.length > 3 ? powers : powers.flatMap((each) => [each, 2 * each, 5 * each]);
  return all.filter((each) => each >= low * (1 - 1e-9) && each <= high * (1 + 1e-9));
}
