// What colours and widths mean.

import { h } from "../dom.js";

const COLOURS = {
  sign: [
    ["positive", "mean above 0"],
    ["negative", "mean below 0"],
    ["zero", "0"],
  ],
  agreement: [
    ["agree", "manual and autograd agree"],
    ["disagree", "disagree"],
    ["none", "not compared"],
  ],
};

/** @param {"sign" | "agreement"} colours */
export function legend(colours) {
  const marks = [...COLOURS[colours], ["odd", "not finite"], ["still", "no gradient"]];
  return [
    h(
      "span",
      {},
      "Click a box to see its numbers, or to unfold a module. Values flow to the right, gradients back along the " +
        "arrows; wider is larger (log scale). ‖·‖: root of the sum of squares. #1: nearest to the loss.",
    ),
    ...marks.map(([kind, text]) => h("span", { class: "mark" }, h("i", { class: `stroke-of ${kind}` }), text)),
  ];
}
