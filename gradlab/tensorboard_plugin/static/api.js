// What the server has: runs and their tags, and every step of one tag.

const BASE = new URL("..", import.meta.url); // …/data/plugin/gradlab/

/**
 * @typedef {{step: number, time: number, about: Record<string, any>}} TagInfo
 * @typedef {Record<string, TagInfo>} Tags by the tag's name
 * @typedef {{steps: number[], shapes: number[][], numbers: Float32Array | Float64Array, texts: string[]}} Series
 */

/**
 * All runs with their tags.
 * @returns {Promise<Record<string, Tags>>}
 */
export async function fetchRuns() {
  const response = await fetch(new URL("runs", BASE));
  await complain(response);
  return response.json();
}

/** Reads tags, each once for as long as it stays as it is. */
export class Reader {
  #kept = new Map();

  /**
   * Every step of one tag.
   * @param {string} run
   * @param {string} tag
   * @param {TagInfo} info its last step and time: where they are new, it is read again
   * @returns {Promise<Series>}
   */
  series(run, tag, info) {
    const key = JSON.stringify([run, tag]);
    const version = `${info.step} ${info.time}`;
    const kept = this.#kept.get(key);
    if (kept?.version === version) return kept.series;
    const series = fetchTag(run, tag);
    this.#kept.set(key, { version, series });
    series.catch(() => this.#kept.delete(key));
    return series;
  }
}

async function fetchTag(run, tag) {
  const url = new URL("tag", BASE);
  url.searchParams.set("run", run);
  url.searchParams.set("tag", tag);
  const response = await fetch(url);
  await complain(response);
  return decoded(await response.arrayBuffer());
}

/**
 * What the server packed: see `data.py`.
 * @param {ArrayBuffer} buffer
 * @returns {Series}
 */
export function decoded(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const Numbers = header.dtype === "float32" ? Float32Array : Float64Array;
  const numbers = header.texts ? new Float64Array() : new Numbers(buffer, 4 + length);
  return { steps: header.steps, shapes: header.shapes ?? [], numbers, texts: header.texts ?? [] };
}

async function complain(response) {
  if (response.ok) return;
  const text = await response.text();
  let message = text;
  try {
    message = JSON.parse(text).error ?? text;
  } catch {
    // TensorBoard's own error pages are no JSON
  }
  throw new Error(`${response.status}: ${message.slice(0, 500)}`);
}
