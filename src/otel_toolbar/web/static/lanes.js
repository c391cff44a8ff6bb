// Draws the lanes in view, and says what lies under the pointer. Shapes and colours are those of the legend.

import { colours, prepared } from "./overview.js";
import { HEIGHT } from "./treegrid.js";

const MIDDLE = HEIGHT / 2;

/** Lanes are in rows of 24 px from `top`; `scale` says which time is shown. */
export class LanePainter {
  constructor(canvas, scale, model) {
    this.canvas = canvas;
    this.scale = scale;
    this.model = model;
  }

  draw(lanes, top, selected) {
    const { canvas } = this;
    this.width = canvas.clientWidth;
    this.height = canvas.clientHeight;
    if (!this.width || !this.height) return;
    this.paint = prepared(canvas, this.width, this.height);
    this.colour = colours(canvas);
    this.drawStripes(lanes, top);
    for (const [number, lane] of lanes.entries()) this.drawLane(lane, top + number * HEIGHT, lane.id === selected);
  }

  x(time) {
    return this.scale.share(time) * this.width;
  }

  /** Over the lanes of the process whose loop was blocked. */
  drawStripes(lanes, top) {
    const { paint } = this;
    for (const call of this.model.blocking) {
      const left = Math.max(-8, this.x(call.start));
      const right = Math.min(this.width + 8, this.x(call.start + call.duration));
      if (right < 0 || left > this.width) continue;
      const wide = Math.max(1, right - left);
      for (const [number, lane] of lanes.entries()) {
        if (lane.process === call.process) hatch(paint, this.colour("warn"), left, top + number * HEIGHT, wide);
      }
    }
  }

  drawLane(lane, y, selected) {
    const { paint } = this;
    const end = lane.start + lane.duration;
    const left = this.x(lane.start);
    const right = this.x(end);
    if (right >= -12 && left <= this.width + 12) {
      paint.globalAlpha = lane.dim ? 0.35 : 1;
      this.drawWaiting(lane, y, left, right);
      this.drawRunning(lane, y);
      this.drawAwaits(lane, y);
      this.drawEnd(lane, y, right);
      paint.globalAlpha = 1;
    }
    if (selected) {
      paint.strokeStyle = this.colour("link");
      paint.strokeRect(Math.max(-2, left - 3.5), y + 2.5, Math.min(this.width + 4, right) - Math.max(-2, left - 3.5) + 6, HEIGHT - 6);
    }
  }

  /** A line from its creation to its end; dashed until its first step. */
  drawWaiting(lane, y, left, right) {
    const { paint } = this;
    const first = this.x(lane.start + (lane.started ?? 0));
    paint.fillStyle = this.colour("rest");
    paint.fillRect(first, y + MIDDLE - 1, Math.max(1, right - first), 3);
    for (let at = Math.max(left, -4); at < Math.min(first, this.width); at += 4) paint.fillRect(at, y + MIDDLE, 2, 1);
    paint.fillRect(left - 1, y + MIDDLE - 4, 1, 9);
  }

  /** A full bar while it holds the loop, or its thread; what is too narrow to see is drawn once. */
  drawRunning(lane, y) {
    const { paint } = this;
    paint.fillStyle = this.colour(lane.kind === "thread" ? "template" : "server");
    let reached = -1;
    for (const [from, to] of lane.running) {
      const right = this.x(to);
      if (right < 0 || right < reached) continue;
      const left = Math.max(this.x(from), reached, -2);
      if (left > this.width) break;
      const wide = Math.max(1.5, right - left);
      paint.fillRect(left, y + 5, wide, HEIGHT - 10);
      reached = left + wide;
    }
    paint.fillStyle = this.colour("bad");
    for (const call of this.model.blockingOf(lane.id)) {
      paint.fillRect(this.x(call.start), y + 5, Math.max(2, (call.duration / this.scale.width) * this.width), HEIGHT - 10);
    }
  }

  /** A bracket below the line, and a diamond where it began. */
  drawAwaits(lane, y) {
    const { paint } = this;
    paint.fillStyle = this.colour("http");
    let reached = -9;
    for (const point of this.model.awaitsOf(lane.id)) {
      const left = this.x(point.start);
      const right = this.x(point.start + point.duration);
      if (right < 0 || left > this.width || right < reached) continue;
      paint.fillRect(left, y + HEIGHT - 6, Math.max(1, right - left), 2);
      diamond(paint, left, y + HEIGHT - 5);
      reached = right;
    }
  }

  /** How it ended: a cross, a triangle, an open end; a plain stop when all is well. */
  drawEnd(lane, y, x) {
    const { paint } = this;
    if (lane.kind === "request" && lane.state === "done") return stop(paint, this.colour("rest"), x, y);
    if (lane.state === "cancelled") cross(paint, this.colour("warn"), x, y + MIDDLE);
    else if (lane.state === "failed") triangle(paint, this.colour("bad"), x, y + MIDDLE);
    else if (lane.state === "running" || lane.state === "outlived") chevrons(paint, this.colour("link"), x, y + MIDDLE);
    else stop(paint, this.colour("rest"), x, y);
  }

  /** What of the lane lies at `x`: an await, a blocking call, running, waiting, or nothing. */
  under(lane, x, y) {
    const time = this.scale.at(x / this.width);
    const near = (3 / this.width) * this.scale.width;
    const holds = ({ start, duration }) => time >= start - near && time <= start + duration + near;
    const call = this.model.blockingOf(lane.id).find(holds);
    if (call) return { what: "blocking", call };
    const point = this.model.awaitsOf(lane.id).find(holds);
    const run = lane.running.find(([from, to]) => time >= from - near && time <= to + near);
    if (run && !(point && y > HEIGHT - 9)) return { what: "running", from: run[0], to: run[1] };
    if (point) return { what: "await", point };
    const other = this.model.blocking.find((each) => each.process === lane.process && holds(each));
    if (other) return { what: "blocking", call: other };
    return holds(lane) ? { what: "waiting" } : null;
  }
}

function hatch(paint, colour, x, y, wide) {
  paint.save();
  paint.beginPath();
  paint.rect(x, y, wide, HEIGHT);
  paint.clip();
  paint.fillStyle = colour;
  paint.globalAlpha = 0.12;
  paint.fillRect(x, y, wide, HEIGHT);
  paint.globalAlpha = 0.55;
  paint.strokeStyle = colour;
  paint.beginPath();
  // Aligned to the canvas and not to the bar, so that lanes join and nothing crawls.
  for (let at = Math.floor((x - HEIGHT) / 8) * 8; at < x + wide; at += 8) {
    paint.moveTo(at, y + HEIGHT);
    paint.lineTo(at + HEIGHT, y);
  }
  paint.stroke();
  paint.restore();
  paint.fillStyle = colour;
  paint.fillRect(x, y, 1, HEIGHT);
  paint.fillRect(x + wide - 1, y, 1, HEIGHT);
}

function diamond(paint, x, y) {
  paint.beginPath();
  paint.moveTo(x, y - 4);
  paint.lineTo(x + 4, y);
  paint.lineTo(x, y + 4);
  paint.lineTo(x - 4, y);
  paint.fill();
}

function stop(paint, colour, x, y) {
  paint.fillStyle = colour;
  paint.fillRect(x - 1, y + MIDDLE - 4, 2, 9);
}

function cross(paint, colour, x, y) {
  paint.strokeStyle = colour;
  paint.lineWidth = 2;
  paint.beginPath();
  paint.moveTo(x - 4, y - 4);
  paint.lineTo(x + 4, y + 4);
  paint.moveTo(x + 4, y - 4);
  paint.lineTo(x - 4, y + 4);
  paint.stroke();
  paint.lineWidth = 1;
}

function triangle(paint, colour, x, y) {
  paint.fillStyle = colour;
  paint.beginPath();
  paint.moveTo(x, y - 5);
  paint.lineTo(x + 6, y + 5);
  paint.lineTo(x - 6, y + 5);
  paint.fill();
}

function chevrons(paint, colour, x, y) {
  paint.strokeStyle = colour;
  paint.lineWidth = 2;
  paint.beginPath();
  for (const at of [x - 8, x - 3]) {
    paint.moveTo(at, y - 4);
    paint.lineTo(at + 4, y);
    paint.lineTo(at, y + 4);
  }
  paint.stroke();
  paint.lineWidth = 1;
}
