// The numbers at the present point, a block for each run.

import { h, refill, svg } from "../dom.js";
import { number } from "../format.js";
import { look } from "./surface_contour.js";

const MARKERS = {
  circle: "M6 12a6 6 0 1 0 12 0a6 6 0 1 0 -12 0",
  square: "M6 6H18V18H6Z",
  triangle: "M12 5L19 18H5Z",
  diamond: "M12 4L20 12L12 20L4 12Z",
};

/** A table for each run that is shown. */
export class Readings {
  element = h("div", { class: "readings" });
  #rows = [];

  /** @param {import("./surface_contour.js").Scene} scene */
  show(scene) {
    this.#rows = scene.ways.map(() => new Map());
    refill(
      this.element,
      scene.ways.map((way, i) => this.#block(scene, way, i)),
    );
    this.move(scene);
  }

  /** Puts in the numbers of the step. */
  move(scene) {
    scene.ways.forEach((way, i) => {
      for (const [name, text] of Object.entries(said(scene, way, scene.standings[i]))) {
        const cell = this.#rows[i].get(name);
        if (cell && cell.textContent !== text) cell.textContent = text;
      }
    });
  }

  #block(scene, way, i) {
    const rows = Object.keys(said(scene, way, scene.standings[i])).map((name) => {
      const cell = h("td", { "data-name": name });
      this.#rows[i].set(name, cell);
      return h("tr", {}, h("th", { scope: "row" }, name), cell);
    });
    const mark = svg("path", { d: MARKERS[look(i).marker], fill: look(i).color, stroke: "#000", "stroke-width": 1.5 });
    const key = svg("svg", { viewBox: "0 0 24 24", width: 18, height: 18, "aria-hidden": "true" }, mark);
    return h("table", {}, h("caption", {}, key, ` ${way.run}`), h("tbody", {}, rows));
  }
}

function said({ landscape }, way, { place, step, x, y, loss, isLossRecorded, gradient, isGradientRecorded, distance }) {
  if (way.members.length > 1) return saidOfMany(landscape, way, step, place);
  const slope = Math.hypot(...gradient);
  return {
    step: number(step, 7),
    x: number(x),
    y: number(y),
    loss: isLossRecorded ? number(loss) : landscape ? `≈ ${number(loss)}` : "not known yet",
    "∂loss/∂x": `${isGradientRecorded ? "" : "≈ "}${number(gradient[0])}`,
    "∂loss/∂y": `${isGradientRecorded ? "" : "≈ "}${number(gradient[1])}`,
    "slope ‖∇loss‖": `${isGradientRecorded ? "" : "≈ "}${number(slope)}`,
    "to a minimizer": landscape?.minimizers.length ? number(distance) : "none is known",
  };
}

function saidOfMany(landscape, { members }, step, place) {
  const diverged = members.filter(({ x, y }) => !Number.isFinite(x[place]) || !Number.isFinite(y[place])).length;
  const near = members.filter(({ x, y }) =>
    landscape?.minimizers.some(([a, b]) => Math.hypot(x[place] - a, y[place] - b) < 0.01),
  ).length;
  return {
    step: number(step, 7),
    points: `${members.length} drawn`,
    "within 0.01 of a minimizer": landscape?.minimizers.length ? String(near) : "none is known",
    "not finite": String(diverged),
  };
}
