// Whether the gradient survives its way back through the layers: the verdict of `gradlab/diagnosis.py`, with its
// thresholds, its order of precedence and its words. The reasons for them stand there.

const DECADES = 2; // how far the gradient may change over the whole depth, in powers of ten
const NOISE = 4; // a bias so many powers of ten below its weight's gradient is taken for rounding noise

/**
 * @typedef {{verdict: string, words: string, levels: number[], outlying: string[],
 *   trend: "vanishing" | "exploding"}} Flow
 *   `outlying`: where the gradient vanishes or explodes, the weights more than a factor of 100 from the end at the loss
 */

/**
 * @param {Map<string, number[]>} layers for each weight, the one nearest to the input first, its RMS at some steps
 * @param {Map<string, number[]>} biases the same of their biases, under the weight's name
 * @returns {Flow}
 */
export function diagnoseFlow(layers, biases = new Map()) {
  const names = [...layers.keys()];
  const levels = names.map((name) => level(layers.get(name)));
  const { slope } = line(levels);
  const whole = slope * depth(levels);
  const total = Number.isFinite(whole) ? larger(whole, ends(levels)) : Number.NaN;
  const arriving = names.map((name, i) => {
    const found = level(biases.get(name) ?? []);
    return found < levels[i] - NOISE ? Number.NaN : found;
  });
  const { slope: arrivingSlope } = line(arriving);
  const arrivingTotal = arrivingSlope * depth(arriving);
  const dead = names.filter((name) => isDead(layers.get(name)));
  const nonfinite = names.filter((name) => layers.get(name).some((x) => !Number.isFinite(x)));
  const missing = names.filter((name) => !layers.get(name).length);
  const hidden = Math.abs(arrivingTotal) > DECADES && DECADES >= Math.abs(total);
  const verdict = judged(hidden ? arrivingTotal : total, dead.length > 0, [...layers.values()].some(isBroken));
  const words = [flowInWords(verdict, names, levels, slope, total)];
  if (hidden) words.push(hiddenInWords(arriving, arrivingSlope, arrivingTotal));
  if (dead.length) words.push(`exactly zero: ${listed(dead)}`);
  if (nonfinite.length)
    words.push(`NaN or infinite${verdict === "non-finite" ? "" : " at some steps"}: ${listed(nonfinite)}`);
  if (missing.length) words.push(`no gradient in these steps: ${listed(missing)}`);
  const trend = (hidden ? arrivingTotal : total) < 0 ? "vanishing" : "exploding";
  const far = hidden ? outlying(names, arriving, arrivingSlope, arrivingTotal) : outlying(names, levels, slope, total);
  return { verdict, words: words.join("; "), levels, outlying: far, trend };
}

/** Whether a gradient was exactly zero throughout. */
export function isDead(values) {
  return values.length > 0 && values.every((x) => x === 0);
}

/** Whether a gradient is NaN or infinite at its last step, or at most steps. */
export function isBroken(values) {
  const finite = values.filter(Number.isFinite).length;
  return values.length > 0 && (!Number.isFinite(values.at(-1)) || finite < values.length / 2);
}

/** The names whose gradients can be compared over depth: weight matrices and kernels. */
export function depthWeights(names, vectors) {
  return names.filter((name) => isWeight(name) && !vectors.has(name));
}

/** The bias of each weight, where no normalization makes biases of another kind. */
export function depthBiases(names, weights, vectors) {
  const gains = names.some((name) => NORMALIZATION.test(name.toLowerCase()) || (isWeight(name) && vectors.has(name)));
  if (gains) return new Map();
  const pairs = weights.map((weight) => [weight, weight.replace(/weight(?=[^.]*$)/, "bias")]);
  return new Map(pairs.filter(([weight, bias]) => bias !== weight && names.includes(bias)));
}

const NORMALIZATION = /norm|(^|\.)(bn|ln|gn)(_?\d+|_\w)?\./;
const OTHER_KIND = /norm|emb|^(bn|ln|gn|wte|wpe|tok(en)?|pos(ition)?)(_?\d+|_\w)?$/;

function isWeight(name) {
  const path = name
    .toLowerCase()
    .replace(/\.original1?$/, "")
    .split(".");
  const last = path.pop();
  return last.split("_").includes("weight") && !path.some((part) => OTHER_KIND.test(part));
}

function level(values) {
  const positive = values.filter((x) => Number.isFinite(x) && x > 0);
  return positive.length ? Math.log10(median(positive)) : Number.NaN;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function known(levels) {
  return levels.map((_, i) => i).filter((i) => Number.isFinite(levels[i]));
}

/** Theil and Sen's slope on the way back (towards lower indices), and the height at index 0. */
function line(levels) {
  const places = known(levels);
  if (places.length < 2) return { slope: Number.NaN, height: Number.NaN };
  const slopes = places.flatMap((i, at) => places.slice(at + 1).map((j) => (levels[i] - levels[j]) / (j - i)));
  const slope = median(slopes);
  return { slope, height: median(places.map((i) => levels[i] + slope * i)) };
}

function depth(levels) {
  const places = known(levels);
  return places.length ? places.at(-1) - places[0] : 0;
}

/** The first third of the layers against the last third. */
function ends(levels) {
  const found = levels.filter(Number.isFinite);
  const third = Math.max(1, Math.floor(found.length / 3));
  return found.length > 1 ? median(found.slice(0, third)) - median(found.slice(-third)) : Number.NaN;
}

function larger(a, b) {
  return Math.abs(b) > Math.abs(a) ? b : a;
}

/** Those beyond the threshold from the end at the loss: the line's end, or the median of the last third. */
function outlying(names, levels, slope, total) {
  if (!(Math.abs(total) > DECADES)) return [];
  const places = known(levels);
  const byLine = Math.abs(slope * depth(levels)) > DECADES;
  const last = places.slice(-Math.max(1, Math.floor(places.length / 3))).map((i) => levels[i]);
  const end = byLine ? line(levels).height - slope * places.at(-1) : median(last);
  const far = places.filter((i) => (levels[i] - end) * Math.sign(total) > DECADES);
  return (far.length ? far : places.slice(0, 1)).map((i) => names[i]);
}

function judged(total, dead, broken) {
  if (broken) return "non-finite";
  if (Math.abs(total) > DECADES) return total < 0 ? "vanishing" : "exploding";
  if (dead) return "dead";
  return Number.isFinite(total) ? "healthy" : "unknown";
}

function flowInWords(verdict, names, levels, slope, total) {
  const places = known(levels);
  if (places.length < 2) {
    const count = places.length ? "one layer only has a gradient" : "no layer has a gradient";
    return `${verdict}: ${count}, so there is no depth to compare over`;
  }
  const way = `× ${factor(slope)} a layer on the way back to the input`;
  const words = `${verdict}: weights' gradients ${way}, × ${factor(total)} over ${places.length} layers`;
  if (!(Math.abs(total) > DECADES && DECADES >= Math.abs(slope * depth(levels)))) return words;
  const rises = places.slice(1).map((place, i) => (levels[place] - levels[places[i]]) * -Math.sign(total));
  const at = rises.indexOf(Math.max(...rises)); // the line does not tell it: one place does
  return `${words}, most of it between ${names[places[at]]} and ${names[places[at + 1]]}`;
}

function hiddenInWords(levels, slope, total) {
  return (
    `what arrives at the layers (their biases' gradients) × ${factor(slope)} a layer, × ${factor(total)} over ` +
    `${known(levels).length} layers; the weights' gradients hide it, since the activations ` +
    `${total < 0 ? "shrink" : "grow"} on the way forward`
  );
}

/** A factor in words, from its power of ten: it may be beyond every float. */
function factor(logarithm) {
  if (Math.abs(logarithm) < 3) return String(Number((10 ** logarithm).toPrecision(2)));
  const whole = Math.floor(logarithm);
  return `${(10 ** (logarithm - whole)).toFixed(1)}e${whole < 0 ? "−" : "+"}${String(Math.abs(whole)).padStart(2, "0")}`;
}

function listed(names, most = 4) {
  return names.slice(0, most).join(", ") + (names.length > most ? ` and ${names.length - most} more` : "");
}
