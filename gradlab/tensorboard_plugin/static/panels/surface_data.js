// A surface, the ways that runs took over it, and what there is to say of a point.

import { arrays, curves, placeOf } from "../series.js";

const PARTIALS = ["partial/theta[0]", "partial/theta[1]"];
const LOSS = "loss/train";
const SAME = 0.02; // of the range of heights: two grids of one surface differ by what lies between their points

/**
 * Heights `z` over a grid, row by row: that of (x[j], y[i]) stands at i · x.length + j.
 * @typedef {{x: Float64Array, y: Float64Array, z: Float64Array, minimizers: number[][]}} Landscape
 *
 * What a run did: its points, of one member or of a population's several, and curves where the run has them.
 * @typedef {{run: string, steps: number[], members: {x: number[], y: number[]}[],
 *   partials: import("../series.js").Curve[] | null, loss: import("../series.js").Curve | null}} Way
 */

/** Whether a run has a path at all. */
export function hasWay(tags) {
  return "path/point" in tags || "path/points" in tags;
}

/**
 * The landscape under a run.
 * @returns {Promise<Landscape | null>} null where there is none yet
 */
export async function readLandscape(reader, run, tags) {
  if (!["x", "y", "z"].every((name) => `surface/${name}` in tags)) return null;
  const last = async (tag) => arrays(await reader.series(run, tag, tags[tag])).at(-1);
  const [x, y, z] = await Promise.all(["x", "y", "z"].map((name) => last(`surface/${name}`)));
  if (x.numbers.length < 2 || y.numbers.length < 2 || z.numbers.length !== x.numbers.length * y.numbers.length) {
    throw new Error(`the surface's heights (${z.shape.join(" × ")}) do not fit its axes`);
  }
  return { x: x.numbers, y: y.numbers, z: z.numbers, minimizers: await readMinimizers(reader, run, tags) };
}

/** The known minimizers, as pairs. */
export async function readMinimizers(reader, run, tags) {
  const tag = "surface/minimizers";
  if (!(tag in tags)) return [];
  const { numbers } = arrays(await reader.series(run, tag, tags[tag])).at(-1);
  return Array.from({ length: numbers.length >> 1 }, (_, i) => [numbers[2 * i], numbers[2 * i + 1]]);
}

/**
 * The way that a run took.
 * @returns {Promise<Way>}
 */
export async function readWay(reader, run, tags) {
  const tag = "path/points" in tags ? "path/points" : "path/point";
  const series = await reader.series(run, tag, tags[tag]);
  const points = [...new Map(arrays(series).map((each) => [each.step, each])).values()]; // of a step written twice, the later
  points.sort((a, b) => a.step - b.step);
  const width = points[0]?.shape.at(-1);
  if (width !== 2) throw new Error(`its points have ${width} coordinates, and a surface can be drawn over two`);
  const count = Math.min(...points.map((each) => each.numbers.length >> 1));
  const members = Array.from({ length: count }, (_, m) => ({
    x: points.map((each) => each.numbers[2 * m]),
    y: points.map((each) => each.numbers[2 * m + 1]),
  }));
  const found = await curves(reader, run, tags, (name) => name === LOSS || PARTIALS.includes(name));
  const partials = PARTIALS.map((name) => found.get(name));
  return {
    run,
    steps: points.map((each) => each.step),
    members,
    partials: count === 1 && partials.every(Boolean) ? partials : null,
    loss: count === 1 ? (found.get(LOSS) ?? null) : null,
  };
}

/** Whether two grids are of one surface, as far as they overlap. */
export function isSame(a, b) {
  if (!sameMinimizers(a.minimizers, b.minimizers)) return false;
  const [low, high] = extent(a.z);
  const places = [0.15, 0.35, 0.5, 0.65, 0.85];
  const along = (axis, other, share) => {
    const from = Math.max(axis[0], other[0]);
    return from + share * (Math.min(axis.at(-1), other.at(-1)) - from);
  };
  return places.every((u) =>
    places.every((v) => {
      const [x, y] = [along(a.x, b.x, u), along(a.y, b.y, v)];
      return !(Math.abs(height(a, x, y) - height(b, x, y)) > SAME * (high - low));
    }),
  );
}

export function sameMinimizers(a, b) {
  return a.length === b.length && a.every((point, i) => point.every((each, j) => Math.abs(each - b[i][j]) < 1e-6));
}

/** The least and the largest finite number; [NaN, NaN] where there is none. */
export function extent(numbers) {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const each of numbers) {
    if (!Number.isFinite(each)) continue;
    if (each < low) low = each;
    if (each > high) high = each;
  }
  return low > high ? [Number.NaN, Number.NaN] : [low, high];
}

/** The height at a point, between the grid's by bilinear interpolation; NaN outside of the grid. */
export function height({ x, y, z }, px, py) {
  const u = ((px - x[0]) / (x.at(-1) - x[0])) * (x.length - 1);
  const v = ((py - y[0]) / (y.at(-1) - y[0])) * (y.length - 1);
  if (!(u >= 0 && v >= 0 && u <= x.length - 1 && v <= y.length - 1)) return Number.NaN;
  const [j, i] = [Math.min(Math.floor(u), x.length - 2), Math.min(Math.floor(v), y.length - 2)];
  const [s, t, at] = [u - j, v - i, i * x.length + j];
  return (1 - t) * ((1 - s) * z[at] + s * z[at + 1]) + t * ((1 - s) * z[at + x.length] + s * z[at + x.length + 1]);
}

/**
 * The height at a point by bicubic interpolation (R. Keys, "Cubic convolution interpolation", 1981), whose error is of
 * third order in the grid's spacing where the bilinear one's is of second; at the rim, and beside heights that are not
 * finite, the bilinear one.
 */
export function smoothHeight(landscape, px, py) {
  const { x, y, z } = landscape;
  const u = ((px - x[0]) / (x.at(-1) - x[0])) * (x.length - 1);
  const v = ((py - y[0]) / (y.at(-1) - y[0])) * (y.length - 1);
  const [j, i] = [Math.floor(u), Math.floor(v)];
  if (!(j >= 1 && i >= 1 && j < x.length - 2 && i < y.length - 2)) return height(landscape, px, py);
  const row = (k) => cubic(u - j, ...z.subarray(k * x.length + j - 1, k * x.length + j + 3));
  const found = cubic(v - i, row(i - 1), row(i), row(i + 1), row(i + 2));
  return Number.isFinite(found) ? found : height(landscape, px, py);
}

/** Between b and c, with a before and d behind. */
function cubic(t, a, b, c, d) {
  return b + (t / 2) * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}

/**
 * What there is to say of a run's point at a step; of a population, of its first.
 * @param {Way} way
 * @param {Landscape | null} landscape
 * @param {number} step
 */
export function standing(way, landscape, step) {
  const place = placeOf(way.steps, step);
  const [x, y] = [way.members[0].x[place], way.members[0].y[place]];
  const at = way.steps[place];
  const loss = exactly(way.loss, at);
  const gradient = way.partials?.map((curve) => exactly(curve, at));
  const isRecorded = Boolean(gradient?.every((each) => each !== null));
  return {
    place,
    step: at,
    x,
    y,
    loss: loss ?? (landscape ? smoothHeight(landscape, x, y) : Number.NaN),
    isLossRecorded: loss !== null,
    gradient: isRecorded ? gradient : slope(landscape, x, y),
    isGradientRecorded: isRecorded,
    distance: nearest(landscape?.minimizers ?? [], x, y),
  };
}

function exactly(curve, step) {
  if (!curve) return null;
  const place = placeOf(curve.steps, step);
  return curve.steps[place] === step ? curve.values[place] : null;
}

/** The gradient by central differences of the heights, a cell of the grid apart. */
function slope(landscape, x, y) {
  if (!landscape) return [Number.NaN, Number.NaN];
  const dx = landscape.x[1] - landscape.x[0];
  const dy = landscape.y[1] - landscape.y[0];
  const at = (i, j) => smoothHeight(landscape, x + i * dx, y + j * dy);
  return [(at(1, 0) - at(-1, 0)) / (2 * dx), (at(0, 1) - at(0, -1)) / (2 * dy)];
}

function nearest(minimizers, x, y) {
  return minimizers.length ? Math.min(...minimizers.map(([a, b]) => Math.hypot(x - a, y - b))) : Number.NaN;
}
