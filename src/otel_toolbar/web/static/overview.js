// The whole time at a glance; dragging over it, the wheel and the arrow keys choose what is shown below.

import { duration, element } from "./common.js";

const ZOOM = 0.8;

export class Overview {
  /**
   * `paint(canvas context, width, height, colour)` draws the whole time;
   * `onChange()` is called when the scale was changed here.
   */
  constructor(scale, { label, height, controls, paint, onChange }) {
    this.scale = scale;
    this.height = height;
    this.paint = paint;
    this.onChange = onChange;
    this.canvas = element("canvas", {
      className: "overview",
      role: "scrollbar",
      tabIndex: 0,
      "aria-label": label,
      "aria-orientation": "horizontal",
      "aria-controls": controls,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
    });
    this.canvas.style.height = `${height}px`;
    this.setUpBrush();
    this.setUpWheel();
    this.setUpKeys();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    onTheme(() => this.draw());
  }

  draw(from = this.scale.from, to = this.scale.to) {
    const { canvas, height, scale } = this;
    const width = canvas.clientWidth;
    if (!width) return;
    const paint = prepared(canvas, width, height);
    const colour = colours(canvas);
    this.paint(paint, width, height, colour);
    if (to - from < scale.whole) shade(paint, (from / scale.whole) * width, (to / scale.whole) * width, width, height, colour);
    canvas.setAttribute("aria-valuenow", Math.round((((from + to) / 2) / scale.whole) * 100));
    canvas.setAttribute("aria-valuetext", `${duration(from)} to ${duration(to)}`);
  }

  setUpBrush() {
    const { canvas, scale } = this;
    let start = null;
    const time = (event) => {
      const box = canvas.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * scale.whole;
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      start = time(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const end = time(event);
      this.draw(Math.min(start, end), Math.max(start, end));
    });
    canvas.addEventListener("pointerup", (event) => {
      if (start === null) return;
      const end = time(event);
      if (Math.abs(end - start) > scale.whole / 200) scale.zoomTo(Math.min(start, end), Math.max(start, end));
      else scale.reset();
      start = null;
      this.onChange();
    });
  }

  setUpWheel() {
    const { canvas, scale } = this;
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const box = canvas.getBoundingClientRect();
        wheel(scale, event, ((event.clientX - box.left) / box.width) * scale.whole);
        this.onChange();
      },
      { passive: false },
    );
  }

  setUpKeys() {
    const { scale } = this;
    const moves = {
      ArrowLeft: () => scale.panBy(-0.1),
      ArrowRight: () => scale.panBy(0.1),
      PageUp: () => scale.panBy(-0.9),
      PageDown: () => scale.panBy(0.9),
      Home: () => scale.zoomTo(0, scale.width),
      End: () => scale.zoomTo(scale.whole - scale.width, scale.whole),
    };
    this.canvas.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      move();
      this.onChange();
    });
  }
}

/** The wheel zooms around `anchor`; sideways, or with Shift, it pans. */
export function wheel(scale, event, anchor) {
  const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) scale.panBy(Math.sign(sideways) * 0.08);
  else scale.zoomBy(event.deltaY < 0 ? ZOOM : 1 / ZOOM, anchor);
}

/** A canvas of that size, cleared, sharp on any screen. */
export function prepared(canvas, width, height) {
  const sharp = devicePixelRatio || 1;
  canvas.width = width * sharp;
  canvas.height = height * sharp;
  const paint = canvas.getContext("2d");
  paint.scale(sharp, sharp);
  return paint;
}

function shade(paint, left, right, width, height, colour) {
  paint.globalAlpha = 0.7;
  paint.fillStyle = colour("panel");
  paint.fillRect(0, 0, left, height);
  paint.fillRect(right, 0, width - right, height);
  paint.globalAlpha = 1;
  paint.strokeStyle = colour("link");
  paint.strokeRect(left + 0.5, 0.5, Math.max(1, right - left - 1), height - 1);
}

export function onTheme(draw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

/** The style sheet's colours, computed for the theme in use. */
export function colours(canvas) {
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
