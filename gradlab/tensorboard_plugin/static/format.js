// Numbers as people read them, and colours for numbers.

/**
 * A number in at most `digits` significant digits; NaN and infinity as such.
 * @param {number} value
 */
export function number(value, digits = 4) {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
  return text.replaceAll("-", "−");
}

/** A shape such as 64 × 32; that of a single number is said in words. */
export function shape(sizes) {
  return sizes.length ? sizes.join(" × ") : "one number";
}

/** Power of ten of a magnitude; −∞ for 0, NaN for NaN. */
export function decades(value) {
  return Math.log10(Math.abs(value));
}

// Stops of viridis (S. van der Walt, N. Smith, matplotlib, CC0), which keeps its order for colour-blind eyes and in grey.
const VIRIDIS = [
  "#440154",
  "#482878",
  "#3e4989",
  "#31688e",
  "#26828e",
  "#1f9e89",
  "#35b779",
  "#6ece58",
  "#b5de2b",
  "#fde725",
];
// Blue, white, vermillion: the two ends are those of M. Okabe and K. Ito's palette for colour-blind readers.
const SIGNED = ["#0072b2", "#7fb8d8", "#f4f4f4", "#eaae7f", "#d55e00"];

export const POSITIVE = "#d55e00";
export const NEGATIVE = "#0072b2";
export const AGREE = "#009e73";
export const DISAGREE = "#c40000";
export const NOT_FINITE = "#cc79a7";

/** A colour for a share from 0 to 1. */
export function sequential(share) {
  return between(VIRIDIS, share);
}

/** A colour for a number from −1 (blue) over 0 (white) to 1 (vermillion). */
export function signed(share) {
  return between(SIGNED, (share + 1) / 2);
}

/** The three bytes of a colour such as #0072b2. */
export function bytes(color) {
  return [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));
}

function between(stops, share) {
  if (!Number.isFinite(share)) return NOT_FINITE;
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const below = Math.min(Math.floor(place), stops.length - 2);
  const [a, b] = [bytes(stops[below]), bytes(stops[below + 1])];
  const mixed = a.map((x, i) => Math.round(x + (b[i] - x) * (place - below)));
  return `#${mixed.map((x) => x.toString(16).padStart(2, "0")).join("")}`;
}
