// A surface in three dimensions, drawn by plotly where there are plotly and WebGL.

import { h } from "../dom.js";
import { color } from "../theme.js";
import { look } from "./surface_contour.js";
import { height } from "./surface_data.js";
import { Scale } from "./surface_view.js";

const SOURCE = new URL("../../plotly.js", import.meta.url);
const MOST = 81; // points of the grid along each side
const MOST_POINTS = 1000; // of a line
const SYMBOLS = { circle: "circle", square: "square", triangle: "diamond-open", diamond: "diamond" };
const VIRIDIS = [0, 0.25, 0.5, 0.75, 1];

const LIFT = 0.012; // of the range of heights
const ARROW = 0.12; // of the width of the view

/**
 * What lines are laid over.
 * @typedef {{landscape: import("./surface_data.js").Landscape, lift: number, reach: number}} Over
 */

/** Whether this browser can draw in three dimensions. */
export function hasWebGL() {
  const pen = document.createElement("canvas").getContext("webgl");
  pen?.getExtension("WEBGL_lose_context")?.loseContext(); // a page has only few of them
  return Boolean(pen);
}

/** plotly, read once. Fails with the server's own words where there is none. */
export function readPlotly() {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  return new Promise((resolve, reject) => {
    const script = h("script", { src: SOURCE.href });
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", async () => {
      script.remove();
      reject(new Error(await reason()));
    });
    document.head.append(script);
  });
}

async function reason() {
  try {
    return (await (await fetch(SOURCE)).json()).error;
  } catch {
    return "plotly.js did not come";
  }
}

/** The picture in three dimensions. */
export class Space {
  #plotly;
  #busy = false;
  /** @type {Over} */
  #over;
  /** @type {import("./surface_contour.js").Scene | null} */
  #next = null;

  constructor(plotly) {
    this.#plotly = plotly;
    this.element = h("div", { class: "space", role: "img", "aria-label": "the surface in three dimensions" });
  }

  /** @param {import("./surface_contour.js").Scene} scene */
  async draw(scene) {
    const scale = new Scale(scene.landscape, scene.view);
    const { low, high } = scene.view;
    this.#over = {
      landscape: scene.landscape,
      lift: LIFT * (scale.high - (scale.isLog ? 0 : scale.low)),
      reach: ARROW * Math.max(high[0] - low[0], high[1] - low[1]),
    };
    const ways = scene.ways.flatMap((way, i) => lines(this.#over, way, scene.standings[i], look(i)));
    const traces = [ground(scene, scale), ...ways, stars(this.#over, scene)];
    const options = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["toImage"] };
    await this.#plotly.react(this.element, traces, layout(), options);
  }

  /** Draws what moves with the step; while one picture is in the making, only the latest step waits. */
  async move(scene) {
    this.#next = scene;
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#next) {
        const { ways, standings } = this.#next;
        this.#next = null;
        const moved = ways.flatMap((way, i) => parts(this.#over, way, standings[i]));
        const change = Object.fromEntries(["x", "y", "z"].map((axis) => [axis, moved.map((each) => each[axis])]));
        await this.#plotly.restyle(
          this.element,
          change,
          moved.map((_, i) => i + 1),
        );
      }
    } finally {
      this.#busy = false;
    }
  }

  resize() {
    if (this.element.data) this.#plotly.Plots.resize(this.element);
  }

  destroy() {
    this.#plotly.purge(this.element);
  }
}

/** The heights in view, in the colours of the picture from above. */
function ground({ landscape, view }, scale) {
  const { x, y, z } = landscape;
  const columns = thinned(x, view.low[0], view.high[0]);
  const rows = thinned(y, view.low[1], view.high[1]);
  const heights = rows.map((i) => columns.map((j) => finite(z[i * x.length + j])));
  const marks = scale.isLog ? [0, 0.25, 0.5, 0.75, 1] : [0, 0.5, 1];
  return {
    type: "surface",
    x: columns.map((j) => x[j]),
    y: rows.map((i) => y[i]),
    z: heights,
    surfacecolor: heights.map((row) =>
      row.map((each) => (each === null ? null : Math.min(Math.max(scale.share(each), 0), 1))),
    ),
    cmin: 0,
    cmax: 1,
    colorscale: VIRIDIS.map((share) => [share, css(scale, share)]),
    colorbar: {
      title: { text: "loss" },
      thickness: 14,
      len: 0.7,
      tickvals: marks,
      ticktext: marks.map((share) => Number(scale.height(share).toPrecision(2)).toString()),
    },
    hovertemplate: "x = %{x:.4g}<br>y = %{y:.4g}<br>loss = %{z:.4g}<extra></extra>",
  };
}

function css(scale, share) {
  return `rgb(${scale.colors[Math.round(share * (scale.colors.length - 1))].join(",")})`;
}

function thinned(axis, low, high) {
  const places = [...axis.keys()].filter((i) => low <= axis[i] && axis[i] <= high);
  const every = Math.ceil(places.length / MOST);
  return places.filter((_, i) => i % every === 0 || i === places.length - 1);
}

/** The three traces of a way: the line behind, the present points, the arrow. */
function lines(over, way, standing, { color: ink, marker }) {
  const isAlone = way.members.length === 1;
  const looks = [
    { mode: "lines", line: { color: ink, width: isAlone ? 6 : 2 } },
    {
      mode: "markers",
      marker: { color: ink, size: isAlone ? 6 : 3, symbol: SYMBOLS[marker], line: { color: "#000", width: 1 } },
    },
    {
      mode: "lines+markers",
      line: { color: "#000", width: 4 },
      marker: { color: "#000", size: [0, 0, 0, 0, 5], symbol: "diamond" },
    },
  ];
  return parts(over, way, standing).map((part, i) => ({
    ...part,
    ...looks[i],
    type: "scatter3d",
    showlegend: false,
    hoverinfo: "skip",
  }));
}

/** What moves with the step, trace by trace. */
function parts(over, way, standing) {
  return [behind(over, way, standing.place), present(over, way, standing), arrow(over, way, standing)];
}

/** Against the gradient, lying on the ground; of a population none. */
function arrow(over, way, { x, y, gradient }) {
  const points = { x: [], y: [], z: [] };
  const size = Math.hypot(...gradient);
  if (way.members.length > 1 || !(size > 0) || !Number.isFinite(size)) return points;
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const [dx, dy] = gradient.map((each) => (-each / size) * share * over.reach);
    push(points, over, x + dx, y + dy);
  }
  return points;
}

/** The way up to a place, a little above the ground; between members a gap. */
function behind(over, way, place) {
  const every = Math.max(1, Math.ceil(((place + 1) * way.members.length) / MOST_POINTS));
  const kept = [...Array(place + 1).keys()].filter((i) => i % every === 0 || i === place);
  const line = { x: [], y: [], z: [] };
  for (const { x, y } of way.members) {
    for (const i of kept) push(line, over, x[i], y[i]);
    if (way.members.length > 1) push(line, over, Number.NaN, Number.NaN);
  }
  return line;
}

function present(over, way, { place }) {
  const points = { x: [], y: [], z: [] };
  for (const { x, y } of way.members) push(points, over, x[place], y[place]);
  return points;
}

function stars(over, { landscape, view }) {
  const points = { x: [], y: [], z: [] };
  for (const [x, y] of landscape.minimizers) {
    const isSeen = view.low[0] <= x && x <= view.high[0] && view.low[1] <= y && y <= view.high[1];
    if (isSeen) push(points, over, x, y);
  }
  const marker = { color: "#fff", size: 7, symbol: "cross", line: { color: "#000", width: 1 } };
  return { ...points, type: "scatter3d", mode: "markers", marker, showlegend: false, hoverinfo: "skip" };
}

/** Adds a point a little above the ground, where it does not sink in. */
function push(points, { landscape, lift }, x, y) {
  points.x.push(finite(x));
  points.y.push(finite(y));
  points.z.push(finite(height(landscape, x, y) + lift));
}

function finite(value) {
  return Number.isFinite(value) ? value : null;
}

function layout() {
  const ink = color("--ink");
  const axis = (title) => ({
    title: { text: title },
    color: ink,
    gridcolor: color("--line"),
    zerolinecolor: color("--line"),
  });
  return {
    uirevision: "kept", // the camera stays where it was turned to
    margin: { l: 0, r: 0, t: 0, b: 0 },
    paper_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, family: "Roboto, Segoe UI, system-ui, sans-serif" },
    scene: {
      xaxis: axis("x"),
      yaxis: axis("y"),
      zaxis: axis("loss"),
      aspectmode: "manual",
      aspectratio: { x: 1, y: 1, z: 0.7 },
      camera: { eye: { x: 0.95, y: -1.25, z: 0.95 } },
    },
  };
}
