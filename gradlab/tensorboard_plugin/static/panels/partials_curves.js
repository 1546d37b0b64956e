// Partial derivatives over the steps: a curve for each entry.

import { outlined, sized, ticks } from "../canvas.js";
import { h, refill } from "../dom.js";
import { number } from "../format.js";
import { placeOf } from "../series.js";
import { color, onTheme } from "../theme.js";

// M. Okabe and K. Ito's palette for colour-blind readers, without yellow and black, which white and dark grounds swallow.
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const PAD = { left: 64, right: 14, top: 8, bottom: 36 };
const HIGH = 240;
const FONT = '12px Roboto, "Segoe UI", system-ui, sans-serif';

/** @typedef {import("./partials_data.js").Curve} Curve */

export class Curves {
  #picture = h("canvas");
  #marks = h("canvas");
  #readout = h("output", { class: "readout", "aria-live": "polite" });
  #chart = h(
    "div",
    { class: "curves", tabindex: 0, role: "application", "aria-roledescription": "chart" },
    this.#picture,
    this.#marks,
  );
  #chosen = -1;
  #place = 0;
  #step = 0;
  #width = 0;
  #stop;

  #note = h("p", { class: "disagree" });
  name = "";
  /** @type {Curve[]} */
  curves = [];

  /** @param {(step: number) => void} onpick */
  constructor(onpick) {
    this.onpick = onpick;
    const chart = this.#chart;
    chart.addEventListener("pointermove", (event) => this.#hover(event));
    chart.addEventListener("pointerleave", () => this.#look(-1, 0));
    chart.addEventListener("click", () => this.#chosen >= 0 && onpick(this.curves[this.#chosen].steps[this.#place]));
    chart.addEventListener("keydown", (event) => this.#key(event));
    chart.addEventListener("focus", () => this.#chosen < 0 && this.#look(0, placeOf(this.curves[0].steps, this.#step)));
    chart.addEventListener("blur", () => this.#look(-1, 0));
    const observer = new ResizeObserver(() => chart.clientWidth !== this.#width && this.draw());
    observer.observe(chart);
    const unfollow = onTheme(() => this.draw());
    this.#stop = () => {
      observer.disconnect();
      unfollow();
    };
    this.element = h("div", { hidden: true }, this.#note, this.#readout, this.#chart);
  }

  /**
   * @param {string} name of the parameter
   * @param {Curve[]} curves
   */
  set(name, curves) {
    const chosen = name === this.name ? this.curves[this.#chosen]?.index : undefined;
    this.name = name;
    this.curves = curves;
    this.element.hidden = !curves.length;
    const label = `Partial derivatives of ${name} by step. Up and down choose an entry, left and right a step.`;
    this.#chart.setAttribute("aria-label", label);
    const broken = curves.reduce((sum, { values }) => sum + values.filter((x) => !Number.isFinite(x)).length, 0);
    refill(this.#note, broken ? `✕ ${broken} of the numbers are NaN or infinite: the curves have gaps there.` : "");
    this.#look(
      curves.findIndex((curve) => curve.index === chosen),
      this.#place,
    );
    this.draw();
  }

  destroy() {
    this.#stop();
  }

  at(step) {
    this.#step = step;
    this.#drawMarks();
  }

  /** The curve of an entry stands out. Returns whether there is one. */
  choose(index) {
    const found = this.curves.findIndex((curve) => curve.index === index);
    this.#look(found, found < 0 ? 0 : placeOf(this.curves[found].steps, this.#step));
    return found >= 0;
  }

  draw() {
    this.#width = this.#chart.clientWidth;
    if (!this.#width || !this.curves.length) return;
    this.#chart.style.setProperty("height", `${HIGH}px`);
    this.#frame();
    const context = sized(this.#picture, this.#width, HIGH);
    this.#axes(context);
    context.lineWidth = 1.3;
    context.globalAlpha = this.curves.length > COLORS.length ? 0.5 : 1;
    for (const [i, curve] of this.curves.entries()) this.#line(context, curve, hue(i));
    context.globalAlpha = 1;
    this.#drawMarks();
  }

  #frame() {
    let [low, high, first, last] = [0, 0, Number.POSITIVE_INFINITY, 0];
    for (const { steps, values } of this.curves) {
      first = Math.min(first, steps[0]);
      last = Math.max(last, steps.at(-1));
      for (const value of values) {
        if (!Number.isFinite(value)) continue;
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    if (low === high) high = 1;
    const [wide, high_] = [this.#width - PAD.left - PAD.right, HIGH - PAD.top - PAD.bottom];
    const across = wide / Math.max(last - first, 1);
    this.frame = { low, high, first, last, wide };
    this.x = (step) => PAD.left + (step - first) * across;
    this.y = (value) => PAD.top + high_ * ((high - value) / (high - low));
  }

  /** Between two pixels only the lowest and the highest number are drawn, so that 10,000 steps are quick and spikes stay. */
  #line(context, { steps, values }, stroke) {
    context.strokeStyle = stroke;
    context.beginPath();
    let pen = false;
    let [pixel, low, high] = [Number.NaN, 0, 0];
    const flush = () => {
      if (Number.isNaN(pixel)) return;
      if (pen) context.lineTo(pixel, this.y(low));
      else context.moveTo(pixel, this.y(low));
      if (high !== low) context.lineTo(pixel, this.y(high));
      pen = true;
    };
    steps.forEach((step, i) => {
      const x = Math.round(this.x(step));
      const value = values[i];
      if (x === pixel && Number.isFinite(value)) {
        low = Math.min(low, value);
        high = Math.max(high, value);
        return;
      }
      flush();
      pixel = Number.isFinite(value) ? x : Number.NaN;
      if (Number.isNaN(pixel)) pen = false;
      low = high = value;
    });
    flush();
    context.stroke();
    if (steps.length === 1) context.strokeRect(this.x(steps[0]) - 2, this.y(values[0]) - 2, 4, 4);
  }

  #axes(context) {
    const { low, high, wide } = this.frame;
    context.font = FONT;
    context.fillStyle = color("--soft");
    context.strokeStyle = color("--line");
    context.textAlign = "right";
    context.textBaseline = "middle";
    const clear = [high, low].filter((value) => value === 0 || Math.abs(this.y(value) - this.y(0)) > 14);
    for (const value of new Set([...clear, 0])) {
      const y = Math.round(this.y(value)) + 0.5;
      context.beginPath();
      context.moveTo(PAD.left, y);
      context.lineTo(PAD.left + wide, y);
      context.stroke();
      context.fillText(number(value, 2), PAD.left - 6, y);
    }
    context.textAlign = "center";
    context.textBaseline = "top";
    const steps = this.curves.reduce((a, b) => (b.steps.length > a.steps.length ? b : a)).steps;
    let free = 0;
    for (const place of ticks(steps, wide / 70)) {
      const x = this.x(steps[place]);
      const half = context.measureText(steps[place]).width / 2;
      if (x - half < free) continue;
      context.fillText(String(steps[place]), Math.min(x, this.#width - half), HIGH - PAD.bottom + 4);
      free = x + half + 8;
    }
    context.fillText("step", PAD.left + wide / 2, HIGH - PAD.bottom + 19);
  }

  #drawMarks() {
    if (!this.frame || !this.curves.length) return;
    const context = sized(this.#marks, this.#width, HIGH);
    const x = this.x(Math.min(Math.max(this.#step, this.frame.first), this.frame.last));
    outlined(context, () => {
      context.moveTo(x, PAD.top);
      context.lineTo(x, HIGH - PAD.bottom);
    });
    if (this.#chosen < 0) return;
    const curve = this.curves[this.#chosen];
    context.lineWidth = 3;
    this.#line(context, curve, hue(this.#chosen));
    const value = curve.values[this.#place];
    if (!Number.isFinite(value)) return;
    outlined(context, () => context.arc(this.x(curve.steps[this.#place]), this.y(value), 4, 0, 7));
  }

  #hover(event) {
    if (!this.frame) return;
    const box = this.#chart.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const step = this.frame.first + (x - PAD.left) / (this.x(1) - this.x(0) || 1);
    let [best, distance, place] = [-1, Number.POSITIVE_INFINITY, 0];
    this.curves.forEach((curve, i) => {
      const at = placeOf(curve.steps, Math.round(step));
      const away = Math.abs(this.y(curve.values[at]) - y);
      if (away < distance) [best, distance, place] = [i, away, at];
    });
    this.#look(best, place);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey ? 10 : 1;
    const [chosen, place] = [Math.max(this.#chosen, 0), this.#place];
    const last = this.curves[chosen].steps.length - 1;
    const to = (curve, at) =>
      this.#look(Math.min(Math.max(curve, 0), this.curves.length - 1), Math.min(Math.max(at, 0), last));
    const actions = {
      ArrowUp: () => to(chosen - far, place),
      ArrowDown: () => to(chosen + far, place),
      ArrowLeft: () => to(chosen, place - far),
      ArrowRight: () => to(chosen, place + far),
      Home: () => to(chosen, 0),
      End: () => to(chosen, last),
      Enter: () => this.onpick(this.curves[chosen].steps[place]),
    };
    if (!(event.key in actions)) return;
    event.preventDefault(); // the page's own keys for steps rest here
    actions[event.key]();
  }

  #look(chosen, place) {
    this.#chosen = chosen;
    this.#place = place;
    this.#drawMarks();
    if (chosen < 0) {
      refill(
        this.#readout,
        `Point at a curve to read it; ${this.curves.length === 1 ? "there is one" : `there are ${this.curves.length}`}.`,
      );
      return;
    }
    const { index, steps, values } = this.curves[chosen];
    refill(
      this.#readout,
      h("b", {}, `${this.name}${index}`),
      ` at step ${steps[place]}: ∂L/∂θ = ${number(values[place])}`,
    );
  }
}

function hue(i) {
  return COLORS[i % COLORS.length];
}
