// Tags of gradlab's sink as what panels draw: scalars out of blocks, arrays step by step.

/**
 * @typedef {import("./api.js").Tags} Tags
 * @typedef {{steps: number[], values: number[]}} Curve
 */

/**
 * Scalars whose tags begin and end in a certain way, out of the blocks that hold them.
 * @param {import("./api.js").Reader} reader
 * @param {string} run
 * @param {Tags} tags of that run
 * @param {(tag: string) => boolean} wanted
 * @returns {Promise<Map<string, Curve>>} in the order in which they were first written
 */
export async function curves(reader, run, tags, wanted) {
  const blocks = Object.entries(tags).filter(
    ([, info]) => info.about.kind === "scalars" && info.about.tags?.some(wanted),
  );
  const read = await Promise.all(
    blocks.map(async ([tag, info]) => [info.about.tags, await reader.series(run, tag, info)]),
  );
  const found = new Map();
  for (const [names, series] of read) {
    const columns = names.map((name, place) => [name, place + 1]).filter(([name]) => wanted(name));
    for (const [name] of columns) if (!found.has(name)) found.set(name, { steps: [], values: [] });
    const width = names.length + 1; // the step stands first
    for (let at = 0; at + width <= series.numbers.length; at += width) {
      for (const [name, place] of columns) {
        found.get(name).steps.push(series.numbers[at]);
        found.get(name).values.push(series.numbers[at + place]);
      }
    }
  }
  for (const [name, curve] of found) found.set(name, sorted(curve));
  return found;
}

/** Whether a run has scalars of this kind. */
export function hasCurves(tags, wanted) {
  return Object.values(tags).some((info) => info.about.kind === "scalars" && info.about.tags?.some(wanted));
}

function sorted({ steps, values }) {
  const rises = steps.every((step, i) => i === 0 || steps[i - 1] < step);
  if (rises) return { steps, values };
  const last = new Map(steps.map((step, i) => [step, values[i]])); // a resumed run repeats steps: the later one counts
  const order = [...last.keys()].sort((a, b) => a - b);
  return { steps: order, values: order.map((step) => last.get(step)) };
}

/**
 * The arrays of one tag, one for each step.
 * @param {import("./api.js").Series} series
 * @returns {{step: number, shape: number[], numbers: Float32Array | Float64Array}[]}
 */
export function arrays(series) {
  let at = 0;
  return series.steps.map((step, i) => {
    const shape = series.shapes[i];
    const size = shape.reduce((a, b) => a * b, 1);
    at += size;
    return { step, shape, numbers: series.numbers.subarray(at - size, at) };
  });
}

/**
 * The place of the last step that is not after a given one; 0 where all are.
 * @param {number[]} steps rising
 */
export function placeOf(steps, step) {
  let low = 0;
  let high = steps.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (steps[middle] <= step) low = middle;
    else high = middle - 1;
  }
  return low;
}
