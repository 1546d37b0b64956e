// Surface: not drawn yet.

import { notice, refill } from "../dom.js";

/** @type {import("../main.js").Panel} */
export const surface = {
  id: "surface",
  title: "Surface",
  lacks: "This run has no data for this panel.",
  has: () => false,
  async mount(root) {
    refill(root, notice("Nothing yet."));
    return { steps: [], update() {}, async reload() {} };
  },
};
