// The graph panel as it stands on the page: its bar, the picture, the details, and what happens at clicks and keys.

import { h, refill, svg } from "../dom.js";
import { details, link } from "./graph_details.js";
import { Drawing } from "./graph_drawing.js";
import { nearest } from "./graph_focus.js";
import { arranged } from "./graph_layout.js";
import { legend } from "./graph_legend.js";
import { accused, troubles } from "./graph_measures.js";
import { partialsOf } from "./graph_partials.js";
import { Play } from "./graph_play.js";
import { around, inSight, Tree } from "./graph_tree.js";
import { View } from "./graph_view.js";

const ROW = 1180; // pixels that a row may be wide
const NAMED = 6; // so many disagreeing operations are named

export class Scene {
  #store;
  #reader;
  #trees = new Map();
  #open = null;
  #focus = "";
  #colours = "sign";
  #curve = null;
  #stop = new AbortController();

  /**
   * @param {HTMLElement} root
   * @param {import("../store.js").Store} store
   * @param {import("../api.js").Reader} reader
   * @param {import("../graph_data.js").Passes} passes
   */
  constructor(root, store, reader, passes) {
    this.#store = store;
    this.#reader = reader;
    this.passes = passes;
    this.layer = svg("g");
    this.svg = svg(
      "svg",
      { id: "graph-picture", role: "group", "aria-label": HELP, "data-keys": "arrows" },
      arrow(),
      this.layer,
    );
    this.view = new View(this.svg, this.layer, () => this.drawing?.refresh(this.view.window));
    this.play = new Play({
      scene: () => ({ tree: this.tree, open: this.#open, drawing: this.drawing }),
      snapshot: () => this.snapshot,
      show: (item) => this.#follow(item),
    });
    this.alarm = h("p", { id: "graph-alarm", class: "alarm", role: "status" });
    this.about = h("aside", { id: "graph-details", "aria-label": "details" });
    const picture = h("div", { class: "picture" }, this.svg, this.play.words);
    refill(root, this.#bar(), this.alarm, h("div", { class: "content" }, picture, this.about));
    const { signal } = this.#stop;
    this.svg.addEventListener("click", (event) => this.#onClick(event), { signal });
    this.svg.addEventListener("keydown", (event) => this.#onNodeKey(event), { signal });
    this.svg.addEventListener("focusin", (event) => this.#onFocus(event), { signal });
    document.addEventListener("keydown", (event) => this.#onKey(event), { signal });
    this.sizes = new ResizeObserver(() => this.#onSize());
    this.sizes.observe(this.svg);
    try {
      this.#number();
    } catch (error) {
      this.destroy(); // of what cannot be drawn, no listener stays
      throw error;
    }
  }

  /** @param {Set<string>} changed */
  update(changed) {
    if (changed.has("step") || changed.has("steps")) this.#number();
    if (changed.has("selected")) this.#select();
  }

  destroy() {
    this.#stop.abort();
    this.sizes.disconnect();
    this.play.stop();
    this.drawing?.destroy();
  }

  #bar() {
    const choice = (value, text) => h("option", { value }, text);
    const colours = h(
      "select",
      { id: "graph-colours", "aria-label": "colour of the lines" },
      choice("sign", "sign of the gradient"),
      choice("agreement", "agreement"),
    );
    colours.addEventListener("change", () => {
      this.#colours = colours.value;
      refill(this.key, ...legend(this.#colours));
      this.#show();
    });
    this.key = h("span", { class: "legend" }, legend(this.#colours));
    const button = (id, text, name, act) =>
      h("button", { id, type: "button", "aria-label": name, title: name, onclick: act }, text);
    return h(
      "div",
      { class: "tools" },
      this.play.buttons,
      h("span", { role: "group", "aria-label": "modules" }, [
        button("unfold-all", "Unfold all", "unfold all modules", () =>
          this.#fold(["", ...this.tree.groups.map((each) => each.id)]),
        ),
        button("fold-all", "Fold all", "fold all modules", () => this.#fold([""])),
      ]),
      h("span", { role: "group", "aria-label": "zoom" }, [
        button("zoom-out", "−", "zoom out (key −)", () => this.view.zoom(1 / 1.25)),
        button("zoom-in", "+", "zoom in (key +)", () => this.view.zoom(1.25)),
        button("zoom-fit", "Fit", "all in sight (key 0)", () => this.#fit(0)),
      ]),
      h("label", {}, "colour by ", colours),
      this.key,
    );
  }

  // --- what is drawn

  /** The present step: its numbers, and where its structure is another one, its picture. */
  #number() {
    this.snapshot = this.passes.at(this.#store.state.step);
    const { structure } = this.snapshot;
    if (this.tree?.structure !== structure) {
      if (!this.#trees.has(structure)) this.#trees.set(structure, new Tree(structure));
      const isFirst = !this.tree;
      this.tree = this.#trees.get(structure);
      this.#open ??= this.tree.atFirst();
      this.#draw();
      if (isFirst) {
        this.#fit();
        if (this.#store.state.selected) this.#select();
      }
    } else this.#show();
  }

  #show() {
    this.drawing.show(this.snapshot, this.#colours, this.view.window);
    this.play.refresh();
    this.#alarm();
    this.#describe();
  }

  /** Lays out and draws everything anew: at the start, and when a module is folded or unfolded. */
  #draw() {
    this.drawing?.destroy();
    this.isTried = this.svg.clientWidth > 0;
    const row = Math.max(420, Math.min(ROW, (this.svg.clientWidth || ROW) / 0.8)) * (this.tree.isSmall ? 1.4 : 1);
    this.drawing = new Drawing(this.tree, arranged(this.tree, this.#open, row));
    refill(this.layer, this.drawing.element);
    const selected = this.#selectedItem();
    this.#focusOn(selected ? inSight(selected, this.#open).id : this.#focus, false);
    this.#mark();
    this.#show();
  }

  #fit(least = this.tree.isSmall ? 0.6 : undefined) {
    this.least = least;
    const { width, height } = this.drawing.layout;
    this.view.fit(width, height, least);
  }

  /** The panel has a size only once it is on the page; who has not moved the picture keeps all of it in sight. */
  #onSize() {
    if (!this.svg.clientWidth) return;
    const isFirst = !this.isTried;
    if (isFirst) this.#draw();
    if (isFirst || this.view.isFitted) this.#fit(this.least);
    const item = this.#selectedItem();
    if (isFirst) this.#select();
    else if (item) this.#reveal(item);
  }

  #fold(ids) {
    this.#open = new Set(ids);
    this.#draw();
    this.#fit();
  }

  /** Folds or unfolds one module; its upper left corner stays where it is on the screen. */
  #toggle(group) {
    const place = () => this.drawing.byItem.get(group)?.box;
    const before = place();
    if (!this.#open.delete(group.id)) this.#open.add(group.id);
    this.#focus = group.id;
    this.#draw();
    const after = place();
    if (before && after) this.view.pan((before.x - after.x) * this.view.scale, (before.y - after.y) * this.view.scale);
    if (after) this.view.reveal(after);
    this.drawing.byItem.get(group)?.element.focus({ preventScroll: true });
  }

  #reveal(item) {
    const shown = this.drawing.byItem.get(inSight(item, this.#open));
    if (shown) this.view.reveal(shown.box);
  }

  /** The backward pass has come to an item: where details are shown, they are its own. */
  #follow(item) {
    if (!this.about.hidden) this.#store.set({ selected: selectionOf(item) });
    this.#reveal(item);
  }

  /** What is wrong at this step, by name. */
  #alarm() {
    const { disagree, odd } = troubles(this.snapshot);
    const key = `${disagree} / ${odd}`;
    if (key === this.alarmed) return;
    this.alarmed = key;
    const list = (names) => {
      const links = names
        .slice(0, NAMED)
        .flatMap((name, at) => [
          at ? ", " : " ",
          link(accused(this.snapshot, name), () => this.#pick({ kind: "operation", name })),
        ]);
      return [...links, names.length > NAMED ? ` and ${names.length - NAMED} more` : ""];
    };
    refill(
      this.alarm,
      disagree.length
        ? h(
            "span",
            { class: "disagree" },
            "Manual and autograd disagree, from the loss down first at",
            list(disagree),
            ". ",
          )
        : null,
      odd.length ? h("span", { class: "odd" }, "Not finite (NaN or ∞):", list(odd), ".") : null,
    );
  }

  // --- what is selected

  #selectedItem() {
    const { selected } = this.#store.state;
    return selected ? this.tree.find(selected) : undefined;
  }

  #pick(selected) {
    const item = this.tree.find(selected);
    if (!item) return;
    this.#store.set({ selected: { kind: selected.kind, name: selected.name } });
  }

  /** Brings what is selected into sight, unfolding what is around it. */
  #select() {
    const item = this.#selectedItem();
    this.#describe();
    if (!item) return this.#mark();
    const closed = around(item.parent).filter((group) => !this.#open.has(group.id));
    for (const group of closed) this.#open.add(group.id);
    if (closed.length) this.#draw();
    this.#focusOn(item.id, false);
    this.#mark();
    requestAnimationFrame(() => this.#reveal(item)); // the details have taken their room by then
  }

  #mark() {
    const item = this.#selectedItem();
    for (const { box, element } of this.drawing.boxes) element.classList.toggle("selected", box.item === item);
  }

  #describe() {
    const item = this.#selectedItem();
    this.about.hidden = !item;
    if (!item) return;
    const close = h(
      "button",
      {
        type: "button",
        class: "close",
        "aria-label": "close the details",
        onclick: () => this.#store.set({ selected: null }),
      },
      "×",
    );
    const fold =
      item.kind === "group"
        ? h("button", { type: "button", onclick: () => this.#toggle(item) }, "Fold or unfold")
        : null;
    const body = details(this.snapshot, this.tree, item, (selected) => this.#pick(selected));
    const isNew = this.described !== item;
    this.described = item;
    const hadFocus = this.about.contains(document.activeElement)
      ? [...this.about.querySelectorAll("button")].indexOf(document.activeElement)
      : -1;
    const top = this.about.scrollTop;
    this.curveHost ??= h("div");
    refill(this.about, close, ...body, fold, this.curveHost);
    if (hadFocus >= 0) this.about.querySelectorAll("button")[isNew ? 0 : hadFocus]?.focus();
    this.about.scrollTop = isNew ? 0 : top;
    this.#curves(item, isNew);
  }

  /** Of a leaf with a gradient, its partials over the steps: read once, marked at each step. */
  async #curves(item, isNew) {
    const hasCurve = item.kind === "leaf" && this.tree.values.has(item.name);
    if (!hasCurve) {
      this.#curve = null;
      return refill(this.curveHost);
    }
    if (isNew) {
      this.#curve = null;
      refill(this.curveHost);
      const data = { reader: this.#reader, run: this.#store.state.run, tags: this.#store.tags, passes: this.passes };
      try {
        const curve = await partialsOf(data, item.name);
        if (this.described !== item) return;
        this.#curve = curve;
        refill(this.curveHost, curve.element);
      } catch (error) {
        refill(this.curveHost, h("p", { class: "soft" }, `Its curve could not be read: ${error.message}`));
      }
    }
    this.#curve?.mark(this.#store.state.step);
  }

  // --- clicks and keys

  #onClick(event) {
    const element = event.target instanceof Element ? event.target.closest("[data-id]") : null;
    const shown = element && this.drawing.boxes.find((each) => each.element === element);
    if (!shown) return;
    const { item, isOpen } = shown.box;
    if (isOpen && !event.target.closest(".head")) return; // the ground of an open module is for panning
    this.#act(item);
  }

  #act(item) {
    this.#store.set({ selected: selectionOf(item) });
    if (item.kind === "group") this.#toggle(item);
  }

  /** Within the picture, arrows go from node to node; Enter and space act on one. */
  #onNodeKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const current = this.drawing.boxes.find((each) => each.box.item.id === this.#focus);
    if (!current) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return this.#act(current.box.item);
    }
    const next = nearest(this.drawing.boxes, current, event.key);
    if (!next) return;
    event.preventDefault();
    this.#focusOn(next.box.item.id, true);
    this.view.reveal(next.box);
  }

  /** What gets the focus comes into sight; under a pointer nothing moves. */
  #onFocus({ target }) {
    const shown = this.drawing.boxes.find((each) => each.element === target);
    if (!shown) return;
    this.#focusOn(shown.box.item.id, false);
    if (!this.view.isHeld) this.view.reveal(shown.box);
  }

  #focusOn(id, takesFocus) {
    const wanted =
      this.drawing.boxes.find((each) => each.box.item.id === id) ?? this.drawing.byItem.get(this.tree.loss);
    for (const each of this.drawing.boxes)
      if (each.element.getAttribute("tabindex") === "0") each.element.setAttribute("tabindex", "-1");
    this.#focus = wanted.box.item.id;
    wanted.element.setAttribute("tabindex", "0");
    if (takesFocus) wanted.element.focus({ preventScroll: true });
  }

  #onKey(event) {
    const target = event.target instanceof Element ? event.target : document.body;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest("select, textarea, input:not([type=range])")) return;
    const actions = {
      b: () => this.play.toggle(),
      n: () => this.play.move(1),
      p: () => this.play.move(-1),
      escape: () => (this.play.isPlaying ? this.play.stop() : this.#store.set({ selected: null })),
      "+": () => this.view.zoom(1.25),
      "=": () => this.view.zoom(1.25),
      "-": () => this.view.zoom(1 / 1.25),
      0: () => this.#fit(0),
    };
    const act = actions[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  }
}

const HELP =
  "graph of the forward pass, from left to right. Arrow keys go from node to node, Enter shows a node's numbers or unfolds a module.";

function selectionOf({ kind, id, name }) {
  if (kind === "group") return { kind: "module", name: id };
  return { kind: kind === "operation" ? "operation" : "value", name };
}

function arrow() {
  const head = svg("path", { d: "M0 0L9 6L0 12Z", fill: "context-stroke" });
  const marker = { id: "graph-arrow", viewBox: "0 0 9 12", refX: 0.5, refY: 6, markerWidth: 9, markerHeight: 12 };
  return svg("defs", {}, svg("marker", { ...marker, markerUnits: "userSpaceOnUse", orient: "auto" }, head));
}
