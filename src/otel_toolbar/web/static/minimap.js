// The whole trace at a glance; dragging over it chooses the part of the time that is shown.

import { element } from "./common.js";

const HEIGHT = 40;

export class Minimap {
  constructor(tree, onChoice) {
    this.tree = tree;
    this.onChoice = onChoice;
    this.canvas = element("canvas", { className: "minimap", role: "img", "aria-label": "Overview of the trace. Keys w, s and 0 zoom." });
    this.window = [0, 0];
    this.setUpBrush();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(from, to) {
    this.window = [from, to];
    this.draw();
  }

  draw() {
    const { canvas, tree } = this;
    const width = canvas.clientWidth;
    if (!width) return;
    const scale = devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = HEIGHT * scale;
    const paint = canvas.getContext("2d");
    paint.scale(scale, scale);
    const whole = tree.view.duration || 1e-9;
    const deepest = tree.view.spans.reduce((most, span) => Math.max(most, span.depth), 0);
    const row = HEIGHT / (deepest + 1);
    const colour = colours(canvas);
    for (const span of tree.view.spans) {
      const x = (span.start / whole) * width;
      const long = Math.max(1, (span.duration / whole) * width);
      paint.fillStyle = colour(span.category);
      paint.fillRect(x, span.depth * row, long, Math.max(1, row - 1));
      if (!span.error) continue;
      paint.fillStyle = colour("bad");
      paint.fillRect(x, (span.depth + 1) * row - 3, Math.max(2, long), 2);
    }
    this.shade(paint, width, whole, colour);
  }

  shade(paint, width, whole, colour) {
    const [from, to] = this.window;
    if (to - from >= whole) return;
    const left = (from / whole) * width;
    const right = (to / whole) * width;
    paint.globalAlpha = 0.7;
    paint.fillStyle = colour("panel");
    paint.fillRect(0, 0, left, HEIGHT);
    paint.fillRect(right, 0, width - right, HEIGHT);
    paint.globalAlpha = 1;
    paint.strokeStyle = colour("link");
    paint.strokeRect(left, 0.5, Math.max(1, right - left), HEIGHT - 1);
  }

  setUpBrush() {
    const { canvas } = this;
    let start = null;
    const time = (event) => {
      const box = canvas.getBoundingClientRect();
      return ((event.clientX - box.left) / box.width) * (this.tree.view.duration || 1e-9);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      start = time(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const end = time(event);
      this.show(Math.min(start, end), Math.max(start, end));
    });
    canvas.addEventListener("pointerup", (event) => {
      const end = time(event);
      const least = (this.tree.view.duration || 1e-9) / 200;
      if (start !== null && Math.abs(end - start) > least) this.onChoice(Math.min(start, end), Math.max(start, end));
      else this.onChoice(0, Infinity);
      start = null;
    });
  }
}

/** The style sheet's colours, computed for the theme in use. */
function colours(canvas) {
  const known = new Map();
  const probe = canvas.style;
  return (name) => {
    if (!known.has(name)) {
      probe.color = `var(--${name})`;
      known.set(name, getComputedStyle(canvas).color);
    }
    return known.get(name);
  };
}
