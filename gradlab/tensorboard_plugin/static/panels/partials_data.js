// What a run has of its parameters' partial derivatives: curves of entries, and pictures of matrices with their weights.

import { arrays, curves } from "../series.js";

const CURVE = /^partial\/(.*?)(?:\[([\d,]*)\])?$/;

/**
 * @typedef {{step: number, shape: number[], numbers: Float32Array | Float64Array}} Picture
 * @typedef {{index: string, steps: number[], values: number[]}} Curve `index` such as "[3,7]"; empty for a single number
 * @typedef {{name: string, gradients: Picture[], weights: Picture[], entries: Picture[], curves: Curve[],
 *   steps: number[]}} Partial `entries`: which entry each cell shows, of pictures whose cells stand for several
 */

/**
 * The parameters that a run has partials of, first those nearest to the input.
 * @param {import("../api.js").Tags} tags
 * @returns {string[]}
 */
export function parameters(tags) {
  const found = new Set();
  for (const { about } of Object.values(tags)) {
    for (const tag of about.kind === "scalars" ? (about.tags ?? []) : []) {
      const parts = CURVE.exec(tag);
      if (parts) found.add(parts[1]);
    }
  }
  for (const tag of Object.keys(tags)) {
    const parts = /^(?:partial|weight)\/(.*)$/.exec(tag);
    if (parts) found.add(parts[1]);
  }
  return [...found];
}

/**
 * Everything of one parameter.
 * @param {import("../api.js").Reader} reader
 * @returns {Promise<Partial>}
 */
export async function readPartial(reader, run, tags, name) {
  const pictures = async (prefix) => {
    const tag = `${prefix}/${name}`;
    return tag in tags ? latest(arrays(await reader.series(run, tag, tags[tag])).filter(isMatrix)) : [];
  };
  const wanted = (tag) => CURVE.exec(tag)?.[1] === name;
  const [gradients, weights, entries, found] = await Promise.all([
    pictures("partial"),
    pictures("weight"),
    pictures("entry"),
    curves(reader, run, tags, wanted),
  ]);
  const own = [...found].map(([tag, curve]) => ({ index: tag.slice(`partial/${name}`.length), ...curve }));
  const steps = new Set([...gradients, ...weights].map((each) => each.step));
  for (const curve of own) for (const step of curve.steps) steps.add(step);
  return { name, gradients, weights, entries, curves: own, steps: [...steps].sort((a, b) => a - b) };
}

function isMatrix({ shape, numbers }) {
  return shape.length === 2 && numbers.length > 0;
}

/** Of a resumed run the later picture of a step counts. */
function latest(pictures) {
  return [...new Map(pictures.map((each) => [each.step, each])).values()].sort((a, b) => a.step - b.step);
}
