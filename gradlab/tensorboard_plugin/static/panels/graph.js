// Graph: the forward pass as boxes, the gradients that flow back as lines, and what is known of each.

import { notice, refill } from "../dom.js";
import { hasPasses, readPasses } from "../graph_data.js";
import { Scene } from "./graph_scene.js";

/** @type {import("../main.js").Panel} */
export const graph = {
  id: "graph",
  title: "Graph",
  lacks:
    "This run recorded no backward pass. Name graph among its probes, beside those that it has, such as " +
    "`python -m gradlab probes=[gradients,graph]`, or for descent probes=[path,agreement,graph].",
  has: hasPasses,
  async mount(root, store, reader) {
    const read = () => readPasses(reader, store.state.run, store.tags);
    const passes = await read();
    if (!passes.steps.length) {
      refill(root, notice("This run has begun to record backward passes, but none is complete yet."));
      const waiting = {
        steps: [],
        update() {},
        reload: async () => Object.assign(waiting, await graph.mount(root, store, reader)),
      };
      return waiting;
    }
    const scene = new Scene(root, store, reader, passes);
    return {
      steps: passes.steps,
      update: (changed) => scene.update(changed),
      async reload() {
        scene.passes = await read();
        this.steps = scene.passes.steps;
      },
      destroy: () => scene.destroy(),
    };
  },
};
