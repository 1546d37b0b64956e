// Panning and zooming: by pointer, wheel, pinch, buttons and keys.

const SMALLEST = 0.05;
const LARGEST = 4;
const FAR = 0.3; // below this, no text can be read at all
const READABLE = 0.72; // below this, text on boxes can hardly be read
const LARGEST_FIT = 1.25;
const MARGIN = 16;
const DRAG = 4; // pixels that a finger or a mouse may tremble in a click

export class View {
  #svg;
  #layer;
  #moved;
  #pointers = new Map();
  #start = null;
  #pending = 0;

  /**
   * @param {SVGSVGElement} svg that is looked through
   * @param {SVGGElement} layer that is moved
   * @param {() => void} moved called after each move, at most once a frame
   */
  constructor(svg, layer, moved) {
    this.#svg = svg;
    this.#layer = layer;
    this.#moved = moved;
    this.x = 0;
    this.y = 0;
    this.scale = 1;
    this.isFitted = false; // and not moved since
    svg.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    svg.addEventListener("pointerdown", (event) => this.#onDown(event));
    svg.addEventListener("pointermove", (event) => this.#onMove(event));
    for (const name of ["pointerup", "pointercancel"]) svg.addEventListener(name, (event) => this.#onUp(event));
    svg.addEventListener("click", (event) => this.#wasDragged && event.stopPropagation(), { capture: true });
  }

  #wasDragged = false;

  /** Whether a mouse button or a finger is down. */
  get isHeld() {
    return this.#pointers.size > 0;
  }

  /** What is in sight, in the layer's own coordinates. */
  get window() {
    const { width, height } = this.#size;
    const [x, y] = [-this.x / this.scale, -this.y / this.scale];
    return { x, y, width: width / this.scale, height: height / this.scale, isFar: this.scale < FAR };
  }

  get #size() {
    return { width: this.#svg.clientWidth || 800, height: this.#svg.clientHeight || 500 };
  }

  /** All of it where it stays readable; else its beginning, readable. */
  fit(width, height, least = READABLE) {
    const size = this.#size;
    const whole = Math.min((size.width - 2 * MARGIN) / width, (size.height - 2 * MARGIN) / height, LARGEST_FIT);
    this.scale = Math.max(whole, least);
    const free = (extent, content) => Math.max((extent - content * this.scale) / 2, MARGIN);
    this.x = free(size.width, width);
    this.y = Math.min(free(size.height, height), 60);
    this.isFitted = true;
    this.#draw();
  }

  /** Zooms around a point of the svg, by default its middle. */
  zoom(factor, x = this.#size.width / 2, y = this.#size.height / 2) {
    const scale = Math.min(Math.max(this.scale * factor, SMALLEST), LARGEST);
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.isFitted = false;
    this.#draw();
  }

  pan(dx, dy) {
    this.isFitted = false;
    this.x += dx;
    this.y += dy;
    this.#draw();
  }

  /** Moves as little as needed to have a box in sight. */
  reveal(box) {
    const { width, height } = this.#size;
    const shift = (low, high, extent) => {
      const room = Math.min(14, extent / 6);
      if (high - low > extent - 2 * room) return room - low;
      return Math.max(room - low, 0) + Math.min(extent - room - high, 0);
    };
    const [left, top] = [this.x + box.x * this.scale, this.y + box.y * this.scale];
    const dx = shift(left, left + box.width * this.scale, width);
    const dy = shift(top, top + Math.min(box.height, 120) * this.scale, height);
    if (dx || dy) this.pan(dx, dy);
  }

  #draw() {
    if (this.#pending) return;
    this.#pending = requestAnimationFrame(() => {
      this.#pending = 0;
      this.#layer.setAttribute("transform", `translate(${this.x} ${this.y}) scale(${this.scale})`);
      this.#moved();
    });
  }

  #onWheel(event) {
    event.preventDefault();
    const { left, top } = this.#svg.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? 16 : 1;
    if (event.shiftKey) return this.pan(-(event.deltaX || event.deltaY) * lines, 0);
    this.zoom(
      Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0015)),
      event.clientX - left,
      event.clientY - top,
    );
  }

  #onDown(event) {
    this.#pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.#wasDragged = false;
    this.#start = [event.clientX, event.clientY];
  }

  #onMove(event) {
    const last = this.#pointers.get(event.pointerId);
    if (!last) return;
    if (event.pointerType === "mouse" && !event.buttons) return this.#onUp(event); // let go outside
    const now = [event.clientX, event.clientY];
    if (!this.#wasDragged && Math.hypot(now[0] - this.#start[0], now[1] - this.#start[1]) < DRAG) return;
    if (!this.#wasDragged) this.#svg.setPointerCapture(event.pointerId);
    this.#wasDragged = true;
    const [other] = [...this.#pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    if (other) this.#pinch(last, now, other);
    else this.pan(now[0] - last[0], now[1] - last[1]);
    this.#pointers.set(event.pointerId, now);
  }

  #pinch(last, now, other) {
    const { left, top } = this.#svg.getBoundingClientRect();
    const apart = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
    this.pan((now[0] - last[0]) / 2, (now[1] - last[1]) / 2);
    this.zoom(apart(now) / apart(last), (now[0] + other[0]) / 2 - left, (now[1] + other[1]) / 2 - top);
  }

  #onUp(event) {
    this.#pointers.delete(event.pointerId);
  }
}
