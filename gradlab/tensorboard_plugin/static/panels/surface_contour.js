// A surface from above, on two canvases: the ground with its axes, drawn once, and over it what moves with the step.

import { h } from "../dom.js";
import { number } from "../format.js";
import { color } from "../theme.js";
import { height } from "./surface_data.js";
import { decadeTicks, Scale, ticks } from "./surface_view.js";

const FONT = '12px Roboto, "Segoe UI", system-ui, sans-serif';
const BAR = 14; // pixels: the width of the scale of heights
const MOST = 2000; // points of a line that are drawn

/** How a run's line looks: told apart by dashes and by the marker's shape too, not by colour alone. */
export const LOOKS = [
  { color: "#ffffff", dash: [], marker: "circle" },
  { color: "#ff8c42", dash: [7, 4], marker: "square" },
  { color: "#7fd0ff", dash: [2, 3], marker: "triangle" },
  { color: "#f2a7d0", dash: [9, 3, 2, 3], marker: "diamond" },
  { color: "#c9a0ff", dash: [4, 2], marker: "square" },
  { color: "#ffe08a", dash: [12, 4], marker: "triangle" },
];

/**
 * Everything that a picture needs.
 * @typedef {{landscape: import("./surface_data.js").Landscape | null, view: import("./surface_view.js").View,
 *   ways: import("./surface_data.js").Way[], standings: ReturnType<typeof import("./surface_data.js").standing>[]}} Scene
 */

/** The picture from above. */
export class Contour {
  #ground = h("canvas", { class: "ground", "aria-hidden": "true" });
  #above = h("canvas", { class: "above", role: "img", "aria-label": "the surface from above" });
  #frame = null;

  constructor(onPoint) {
    this.element = h("div", { class: "contour" }, this.#ground, this.#above);
    this.#above.addEventListener("pointermove", (event) => onPoint(this.#under(event)));
    this.#above.addEventListener("pointerleave", () => onPoint(null));
  }

  /** @param {Scene} scene */
  draw(scene) {
    const { clientWidth: width, clientHeight: tall } = this.element;
    if (!width || !tall) return;
    this.#frame = frameOf(scene, width, tall);
    drawGround(context(this.#ground, width, tall), scene, this.#frame);
    this.move(scene);
  }

  /** Draws what moves with the step. */
  move(scene) {
    if (!this.#frame) return;
    const pen = context(this.#above, this.element.clientWidth, this.element.clientHeight);
    const { left, top, wide, tall } = this.#frame;
    pen.beginPath();
    pen.rect(left, top, wide, tall);
    pen.clip();
    for (const [i, way] of scene.ways.entries()) drawWay(pen, this.#frame, way, scene.standings[i].place, look(i));
    for (const point of scene.landscape?.minimizers ?? []) drawStar(pen, this.#frame, point);
    for (const [i, way] of scene.ways.entries()) drawPresent(pen, this.#frame, way, scene.standings[i], look(i));
    this.#above.setAttribute("aria-label", described(scene));
  }

  #under(event) {
    const { left, top, wide, tall, view } = this.#frame ?? {};
    const [u, v] = [(event.offsetX - left) / wide, 1 - (event.offsetY - top) / tall];
    if (!(u >= 0 && u <= 1 && v >= 0 && v <= 1)) return null;
    return [view.low[0] + u * (view.high[0] - view.low[0]), view.low[1] + v * (view.high[1] - view.low[1])];
  }
}

export function look(place) {
  return LOOKS[place % LOOKS.length];
}

function described({ ways, standings }) {
  const points = ways.map((way, i) => {
    const { step, x, y, loss } = standings[i];
    return `${way.run} at step ${step} stands at x = ${number(x)}, y = ${number(y)}, loss ${number(loss)}`;
  });
  return `the surface from above; ${points.join("; ")}`;
}

/** Where the picture lies in its box: equal scales for x and y where the view is not too long for it. */
function frameOf({ view, landscape }, width, tall) {
  const room = {
    left: 58,
    top: 12,
    wide: Math.max(40, width - 58 - (landscape ? 88 : 16)),
    tall: Math.max(40, tall - 58),
  };
  const shape = (view.high[0] - view.low[0]) / (view.high[1] - view.low[1]);
  const isEqual = shape >= 0.5 && shape <= 2;
  const wide = isEqual ? Math.min(room.wide, room.tall * shape) : room.wide;
  const frame = { left: room.left, top: room.top, wide, tall: isEqual ? wide / shape : room.tall, view };
  frame.x = (x) => frame.left + ((x - view.low[0]) / (view.high[0] - view.low[0])) * frame.wide;
  frame.y = (y) => frame.top + (1 - (y - view.low[1]) / (view.high[1] - view.low[1])) * frame.tall;
  return frame;
}

function context(canvas, width, tall) {
  const ratio = window.devicePixelRatio || 1;
  const size = [Math.round(width * ratio), Math.round(tall * ratio)];
  if (canvas.width !== size[0]) canvas.width = size[0];
  if (canvas.height !== size[1]) canvas.height = size[1];
  const pen = canvas.getContext("2d");
  pen.reset();
  pen.scale(ratio, ratio);
  return pen;
}

function drawGround(pen, { landscape, view }, frame) {
  const scale = landscape && new Scale(landscape, view);
  if (scale) drawHeights(pen, landscape, scale, frame);
  drawAxes(pen, frame);
  if (scale) drawScale(pen, scale, frame);
}

/** Each pixel in the colour of its band, and a line where a band ends. */
function drawHeights(pen, landscape, scale, frame) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, tall] = [Math.round(frame.wide * ratio), Math.round(frame.tall * ratio)];
  const bands = bandsOf(landscape, scale, frame.view, wide, tall);
  const image = pen.createImageData(wide, tall);
  for (let at = 0; at < bands.length; at++) {
    const band = bands[at];
    if (band < 0) continue; // not finite: left empty
    const isEdge =
      (at + 1) % wide && band !== bands[at + 1] ? true : at + wide < bands.length && band !== bands[at + wide];
    const white = isEdge ? 0.35 : 0;
    const rgb = scale.colors[band];
    for (let k = 0; k < 3; k++) image.data[4 * at + k] = rgb[k] + (255 - rgb[k]) * white;
    image.data[4 * at + 3] = 255;
  }
  pen.putImageData(image, Math.round(frame.left * ratio), Math.round(frame.top * ratio));
}

function bandsOf(landscape, scale, view, wide, tall) {
  const bands = new Int8Array(wide * tall);
  for (let row = 0; row < tall; row++) {
    const y = view.high[1] + ((row + 0.5) / tall) * (view.low[1] - view.high[1]);
    for (let column = 0; column < wide; column++) {
      const x = view.low[0] + ((column + 0.5) / wide) * (view.high[0] - view.low[0]);
      bands[row * wide + column] = scale.band(height(landscape, x, y));
    }
  }
  return bands;
}

function drawAxes(pen, frame) {
  const { left, top, wide, tall, view } = frame;
  write(pen);
  pen.strokeRect(left, top, wide, tall);
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const x of ticks(view.low[0], view.high[0], Math.max(2, wide / 80))) {
    line(pen, frame.x(x), top + tall, frame.x(x), top + tall + 4);
    pen.fillText(number(x), frame.x(x), top + tall + 6);
  }
  pen.fillText("x", left + wide / 2, top + tall + 24);
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const y of ticks(view.low[1], view.high[1], Math.max(2, tall / 60))) {
    line(pen, left - 4, frame.y(y), left, frame.y(y));
    pen.fillText(number(y), left - 7, frame.y(y));
  }
  pen.fillText("y", 14, top + tall / 2);
}

function drawScale(pen, scale, { left, top, wide, tall }) {
  const at = left + wide + 14;
  scale.colors.forEach((rgb, band) => {
    pen.fillStyle = `rgb(${rgb.join(",")})`;
    const upper = top + tall * (1 - (band + 1) / scale.colors.length);
    pen.fillRect(at, upper, BAR, tall / scale.colors.length + 0.5);
  });
  write(pen);
  pen.strokeRect(at, top, BAR, tall);
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  const marks = scale.isLog ? decadeTicks(scale.low, scale.high) : ticks(scale.low, scale.high);
  for (const mark of marks) {
    const y = top + tall * (1 - scale.share(mark + scale.floor));
    line(pen, at + BAR, y, at + BAR + 4, y);
    pen.fillText(number(mark), at + BAR + 7, y);
  }
  pen.textBaseline = "top";
  const label = scale.floor ? `loss above ${number(scale.floor)}` : "loss";
  pen.textAlign = scale.floor ? "right" : "left";
  pen.fillText(label, scale.floor ? at + BAR + 60 : at, top + tall + 24);
}

function write(pen) {
  pen.font = FONT;
  pen.fillStyle = color("--ink");
  pen.strokeStyle = color("--soft");
  pen.lineWidth = 1;
}

function line(pen, x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

/** What lies behind is a strong line, what is to come a faint one. */
function drawWay(pen, frame, way, place, looks) {
  const isAlone = way.members.length === 1;
  for (const member of way.members) {
    const behind = trace(frame, member, 0, place);
    stroke(pen, trace(frame, member, place, way.steps.length - 1), looks, { width: 1.25, alpha: 0.8, outline: 0 });
    stroke(pen, behind, looks, isAlone ? { width: 2, alpha: 1, outline: 4 } : { width: 1, alpha: 0.85, outline: 2 });
  }
  if (isAlone) drawDots(pen, frame, way, place, looks);
}

function stroke(pen, path, looks, { width, alpha, outline }) {
  pen.save();
  pen.globalAlpha = alpha;
  pen.lineJoin = "round";
  if (outline) {
    pen.strokeStyle = "#000";
    pen.lineWidth = outline;
    pen.stroke(path);
  }
  pen.strokeStyle = looks.color;
  pen.lineWidth = width;
  pen.setLineDash(outline ? looks.dash : []);
  pen.stroke(path);
  pen.restore();
}

function trace(frame, { x, y }, from, to) {
  const path = new Path2D();
  const stride = Math.max(1, Math.ceil((to - from) / MOST));
  let isDown = false;
  for (let i = from; i <= to; i = i === to ? to + 1 : Math.min(i + stride, to)) {
    const [px, py] = [clipped(frame.x(x[i])), clipped(frame.y(y[i]))];
    if (!Number.isFinite(px) || !Number.isFinite(py)) {
      isDown = false; // a gap where the point was not finite
      continue;
    }
    if (isDown) path.lineTo(px, py);
    else path.moveTo(px, py);
    isDown = true;
  }
  return path;
}

/** A canvas draws nothing of lines to places beyond what its single precision holds. */
function clipped(pixels) {
  return Number.isFinite(pixels) ? Math.min(Math.max(pixels, -1e5), 1e5) : pixels;
}

function drawDots(pen, frame, { steps, members }, place, looks) {
  const every = Math.ceil(steps.length / 150);
  for (let i = 0; i < place; i += every)
    drawMarker(pen, frame, members[0].x[i], members[0].y[i], { ...looks, size: 2.5 });
}

/** The marker of the present point, and the arrow of steepest descent. */
function drawPresent(pen, frame, way, standing, looks) {
  const isAlone = way.members.length === 1;
  for (const { x, y } of way.members) {
    drawMarker(pen, frame, x[standing.place], y[standing.place], { ...looks, size: isAlone ? 7 : 4 });
  }
  if (isAlone) drawArrow(pen, frame, standing);
}

function drawMarker(pen, frame, x, y, { color: fill, marker, size }) {
  const [px, py] = [frame.x(x), frame.y(y)];
  if (!Number.isFinite(px) || !Number.isFinite(py)) return;
  pen.beginPath();
  if (marker === "circle") pen.arc(px, py, size, 0, 2 * Math.PI);
  else polygon(pen, px, py, size, { square: [4, Math.PI / 4], triangle: [3, -Math.PI / 2], diamond: [4, 0] }[marker]);
  pen.fillStyle = fill;
  pen.strokeStyle = "#000";
  pen.lineWidth = size > 3 ? 1.5 : 0.75;
  pen.fill();
  pen.stroke();
}

function polygon(pen, px, py, size, [corners, turn]) {
  for (let i = 0; i < corners; i++) {
    const angle = turn + (2 * Math.PI * i) / corners;
    pen.lineTo(px + 1.2 * size * Math.cos(angle), py + 1.2 * size * Math.sin(angle));
  }
  pen.closePath();
}

function drawStar(pen, frame, [x, y]) {
  const [px, py] = [frame.x(x), frame.y(y)];
  pen.beginPath();
  for (let i = 0; i < 10; i++) {
    const [radius, angle] = [i % 2 ? 4 : 10, (Math.PI * i) / 5 - Math.PI / 2];
    pen.lineTo(px + radius * Math.cos(angle), py + radius * Math.sin(angle));
  }
  pen.closePath();
  pen.fillStyle = "#fff";
  pen.strokeStyle = "#000";
  pen.lineWidth = 1.2;
  pen.fill();
  pen.stroke();
}

/** Against the gradient, the steepest way down; the longer the steeper, a decade of slope being 16 pixels. */
function drawArrow(pen, frame, { x, y, gradient }) {
  const { view, wide, tall } = frame;
  const dx = (-gradient[0] * wide) / (view.high[0] - view.low[0]);
  const dy = (gradient[1] * tall) / (view.high[1] - view.low[1]);
  const size = Math.hypot(dx, dy);
  if (!(size > 0) || !Number.isFinite(size)) return;
  const length = Math.min(Math.max(45 + 16 * Math.log10(Math.hypot(...gradient)), 20), 110);
  const [ux, uy] = [dx / size, dy / size];
  const [px, py] = [frame.x(x) + 9 * ux, frame.y(y) + 9 * uy]; // from the marker's rim on
  const [ex, ey] = [px + ux * length, py + uy * length];
  for (const [ink, width] of [
    ["#fff", 5],
    ["#000", 2.5],
  ]) {
    pen.strokeStyle = ink;
    pen.lineWidth = width;
    pen.lineCap = "round";
    line(pen, px, py, ex, ey);
    for (const side of [-1, 1]) line(pen, ex, ey, ex - 10 * ux - 6 * side * uy, ey - 10 * uy + 6 * side * ux);
  }
}
