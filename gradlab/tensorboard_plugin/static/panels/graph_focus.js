// Which node an arrow key leads to.

const WAYS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
const ASTRAY = 2.5; // how much more a pixel aside counts than one ahead

/**
 * The nearest box in the direction of a key.
 * @template {{box: import("./graph_layout.js").Box}} T
 * @param {T[]} boxes
 * @param {T} current
 * @param {string} key
 * @returns {T | undefined}
 */
export function nearest(boxes, current, key) {
  const way = WAYS[key];
  if (!way) return undefined;
  const [x, y] = handle(current.box);
  let [best, least] = [undefined, Number.POSITIVE_INFINITY];
  for (const each of boxes) {
    if (each === current) continue;
    const [dx, dy] = [handle(each.box)[0] - x, handle(each.box)[1] - y];
    const ahead = dx * way[0] + dy * way[1];
    const far = ahead + ASTRAY * Math.abs(dx * way[1] + dy * way[0]);
    if (ahead > 1 && far < least) [best, least] = [each, far];
  }
  return best;
}

/** The middle of a box; of an open module, that of its head. */
function handle({ x, y, width, height, isOpen }) {
  return isOpen ? [x + 40, y + 11] : [x + width / 2, y + height / 2];
}
