// Agreement: not drawn yet.

import { notice, refill } from "../dom.js";

/** @type {import("../main.js").Panel} */
export const agreement = {
  id: "agreement",
  title: "Agreement",
  lacks: "This run has no data for this panel.",
  has: () => false,
  async mount(root) {
    refill(root, notice("Nothing yet."));
    return { steps: [], update() {}, async reload() {} };
  },
};
