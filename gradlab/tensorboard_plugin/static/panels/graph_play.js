// The backward pass, played node by node from the loss down.

import { h } from "../dom.js";
import { inSight } from "./graph_tree.js";
import { sentence } from "./graph_words.js";

const PACE = 1500; // milliseconds at each node, when it plays by itself

export class Play {
  #host;
  #at = -1; // −1: not playing; else the place among the stations
  #timer = 0;
  #stations = [];

  /**
   * @param {{scene: () => {tree: import("./graph_tree.js").Tree, open: Set<string>, drawing: import("./graph_drawing.js").Drawing},
   *   snapshot: () => import("../graph_data.js").Snapshot, show: (item: import("./graph_tree.js").Item) => void}} host
   */
  constructor(host) {
    this.#host = host;
    const button = (id, key, text, title, act) => {
      return h(
        "button",
        { id, type: "button", title, "aria-keyshortcuts": key, onclick: act },
        text,
        " ",
        h("kbd", {}, key),
      );
    };
    this.start = button("backward", "B", "Play backward", "play the backward pass, from the loss down", () =>
      this.toggle(),
    );
    this.previous = button("backward-previous", "P", "previous", "the node before", () => this.move(-1));
    this.next = button("backward-next", "N", "next", "the next node", () => this.move(1));
    this.end = button("backward-end", "Escape", "end", "end the backward pass", () => this.stop());
    this.buttons = h(
      "span",
      { class: "play", role: "group", "aria-label": "backward pass" },
      this.start,
      this.previous,
      this.next,
      this.end,
    );
    this.words = h("p", { id: "backward-words", class: "words", role: "status", "aria-live": "polite" });
    this.#paint();
  }

  get isPlaying() {
    return this.#at >= 0;
  }

  /** Starts at the loss and goes on by itself; pauses; goes on again. */
  toggle() {
    if (this.#timer) this.#halt();
    else {
      if (this.#at >= this.#stations.length - 1) this.#at = -1;
      if (!this.isPlaying) this.#go(0);
      this.#timer = setInterval(
        () => (this.#at < this.#stations.length - 1 ? this.#go(this.#at + 1) : this.#halt()),
        PACE,
      );
    }
    this.#paint();
  }

  /** One node on or back; by hand, it no longer plays by itself. */
  move(by) {
    this.#halt();
    this.#gather();
    const at = this.isPlaying ? this.#at + by : 0;
    if (at >= 0 && at < this.#stations.length) this.#go(at);
  }

  stop() {
    this.#halt();
    this.#at = -1;
    this.#paint();
  }

  /** The picture or its numbers are others now. */
  refresh() {
    const before = this.#stations[this.#at];
    this.#gather();
    if (!this.isPlaying) return;
    if (before) this.#at = Math.max(this.#stations.indexOf(inSight(before, this.#host.scene().open)), 0);
    if (this.#stations[this.#at]?.kind === "group" && !this.#isClosed(this.#stations[this.#at])) this.#at = 0;
    this.#paint();
  }

  #isClosed(item) {
    return !this.#host.scene().open.has(item.id);
  }

  #halt() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#paint();
  }

  /** What is passed, in order: the loss, then operations and closed modules as they are in sight. */
  #gather() {
    const { tree, open } = this.#host.scene();
    this.#stations = [...new Set([tree.loss, ...tree.operations.map((item) => inSight(item, open))])];
  }

  #go(at) {
    this.#gather();
    this.#at = at;
    this.#paint();
    this.#host.show(this.#stations[at]);
  }

  #paint() {
    const isOn = this.isPlaying;
    this.start.firstChild.textContent = this.#timer ? "Pause" : isOn ? "Go on" : "Play backward";
    for (const each of [this.previous, this.next, this.end]) each.hidden = !isOn;
    this.words.hidden = !isOn;
    const { drawing, tree } = this.#host.scene();
    if (!drawing) return;
    drawing.element.classList.toggle("playing", isOn);
    const current = this.#stations[this.#at];
    const passed = new Set(isOn ? this.#stations.slice(0, this.#at) : []);
    for (const { box, element } of drawing.boxes) {
      element.classList.toggle("current", isOn && box.item === current);
      element.classList.toggle(
        "passed",
        passed.has(box.item) || (box.item.kind === "leaf" && this.#isReached(box.item, passed, current)),
      );
    }
    for (const { line, path, label } of drawing.lines) {
      for (const element of [path, label]) {
        element?.classList.toggle("passed", passed.has(line.to));
        element?.classList.toggle("current", isOn && line.to === current);
      }
    }
    const text = isOn && current ? sentence(this.#host.snapshot(), tree, current) : "";
    if (this.words.textContent !== text) this.words.textContent = text;
  }

  /** Whether a gradient has come to a leaf. */
  #isReached(leaf, passed, current) {
    const { tree, open } = this.#host.scene();
    return leaf.places.some((place) => {
      const user = inSight(tree.operations[place], open);
      return user === current || passed.has(user);
    });
  }
}
