// The partial of a weight over the steps: curves that the run has, or else its gradient's norm at the recorded steps.

import { h } from "../dom.js";
import { curves } from "../series.js";
import { plot } from "./graph_curve.js";
import { named } from "./graph_measures.js";

const MOST = 6;

/**
 * @param {{reader: import("../api.js").Reader, run: string, tags: import("../api.js").Tags,
 *   passes: import("../graph_data.js").Passes}} data
 * @param {string} name of the value
 * @returns {Promise<{element: HTMLElement, mark: (step: number) => void}>}
 */
export async function partialsOf({ reader, run, tags, passes }, name) {
  const isPartial = (tag) => tag === `partial/${name}` || tag.startsWith(`partial/${name}[`);
  const found = [...(await curves(reader, run, tags, isPartial))].filter(([, curve]) => curve.steps.length);
  const chosen = found.length ? strongest(found) : [["norm of the gradient", norms(passes, name)]];
  const shown = new Map(chosen.map(([tag, curve]) => [tag.replace("partial/", "∂L/∂"), curve]));
  const title = found.length
    ? `partials of ${named(name)} over the steps`
    : `norm of the gradient of ${named(name)} over the steps`;
  if (chosen.every(([, curve]) => curve.steps.length < 2)) {
    return {
      element: h("p", { class: "soft" }, "One step was recorded: there is no curve over the steps."),
      mark() {},
    };
  }
  const { element, mark } = plot(shown, title);
  const legend = [...shown.keys()].map((each, at) => h("li", { class: `s${at % MOST}` }, named(each)));
  const rest =
    found.length > MOST ? h("p", { class: "soft" }, `the ${MOST} largest of ${found.length} that were recorded`) : null;
  return {
    element: h("div", { class: "partials-of" }, h("h3", {}, title), element, h("ul", { class: "key" }, legend), rest),
    mark,
  };
}

/** The few curves that reach furthest from zero. */
function strongest(found) {
  const reach = ([, { values }]) => values.reduce((most, value) => Math.max(most, Math.abs(value) || 0), 0);
  return found.length <= MOST ? found : [...found].sort((a, b) => reach(b) - reach(a)).slice(0, MOST);
}

function norms(passes, name) {
  const [steps, values] = [[], []];
  const places = new Map();
  for (const snapshot of passes.snapshots) {
    const { structure } = snapshot;
    if (!places.has(structure))
      places.set(structure, structure.values.find((value) => value.name === name)?.gradient.l2);
    const place = places.get(structure);
    if (place === undefined) continue;
    steps.push(snapshot.step);
    values.push(snapshot.at(place));
  }
  return { steps, values };
}
