// The tasks of a trace: a lane each on a time line, on a canvas; their names and figures are rows of a tree.

import { api, base, count, duration, element, keys, page, say } from "./common.js";
import * as inspector from "./inspector.js";
import { LanePainter } from "./lanes.js";
import { Load } from "./load.js";
import { Overview, onTheme, wheel } from "./overview.js";
import { TimeScale } from "./timescale.js";
import { Tree } from "./tree.js";
import { HEIGHT, TreeGrid } from "./treegrid.js";

const SHOWN_AT_MOST = 18;
const MARKS = { failed: "▲", cancelled: "✕", outlived: "»", running: "»", done: "" };
const STATES = { done: "done", failed: "failed", cancelled: "cancelled", outlived: "outlived the request", running: "not finished" };
const CAUSES = {
  cpu: "It computed.",
  sleep: "It slept, or waited in a call that is not awaited.",
  machine: "The machine had no CPU free for it.",
  gc: "Garbage collection.",
};
const COLUMNS = [
  { text: "Task" },
  { text: "Held", className: "num", title: "Time for which it held the loop; of work in a thread, CPU time" },
  { text: "Waited", className: "num self", title: "Time for which it was waiting" },
];
const KINDS = { request: "request", task: "task", thread: "in a thread" };

const PATH = `traces/${page.trace}/panels/tasks/timeline`;

/** Take the place of the server's picture. */
export async function open() {
  return new Lanes(document.getElementById("lanes"), await api(PATH));
}

/** The time line as the API tells it, with what belongs to a lane at hand. */
class Model {
  constructor(timeline) {
    Object.assign(this, timeline);
    this.byLane = new Map(this.lanes.map(({ id }) => [id, { awaits: [], blocking: [] }]));
    for (const each of this.awaits) this.byLane.get(each.lane)?.awaits.push(each);
    for (const each of this.blocking) this.byLane.get(each.lane)?.blocking.push(each);
    this.load = new Load(this.lanes, this.blocking);
    this.most = this.load.most();
  }

  awaitsOf(id) {
    return this.byLane.get(id).awaits;
  }

  blockingOf(id) {
    return this.byLane.get(id).blocking;
  }
}

class Lanes extends TreeGrid {
  constructor(root, timeline) {
    const model = new Model(timeline);
    const texts = (lane) => [lane.name, lane.task, STATES[lane.state], lane.error, lane.id, lane.place?.path ?? "", ...this.model.awaitsOf(lane.id).map(({ target }) => target)];
    super(new Tree([], { texts }), new TimeScale(timeline.duration), {
      label: "Tasks, parents before children",
      columns: COLUMNS,
      id: "tasks-grid",
    });
    this.canvas = element("canvas");
    this.tip = element("div", { className: "tip", hidden: true, "aria-hidden": "true" });
    this.note = element("p", { className: "note", role: "status" });
    this.rows.after(element("div", { className: "stripes", "aria-hidden": "true" }, element("div", { className: "track" }, this.canvas)));
    this.overview = new Overview(this.scale, {
      label: "Part of the time that is shown; behind it, how many tasks there were",
      height: 56,
      controls: "tasks-grid",
      paint: (...canvas) => this.paintOverview(...canvas),
      onChange: () => this.refresh(),
    });
    this.show(model);
    root.replaceChildren(this.overview.canvas, this.grid, this.note, this.tip);
    this.setUpTools();
    this.setUpPointer();
    this.setUpKeys();
    onTheme(() => this.drawSoon());
    const first = this.tree.reveal(page.span ?? "");
    this.showRequest();
    this.refresh();
    if (first >= 0) {
      this.select(first);
      this.inspect();
    }
  }

  show(model) {
    this.model = model;
    this.painter = new LanePainter(this.canvas, this.scale, model);
    this.tree.load(model.lanes);
  }

  /** A task that goes on for long after its request must not make that small. */
  showRequest() {
    const request = this.model.lanes.find(({ kind }) => kind === "request");
    const end = request && request.start + request.duration;
    if (end && end * 2 < this.scale.whole) this.scale.zoomTo(0, end * 1.1);
  }

  /** Called while the trace runs. */
  async update() {
    const id = this.item?.id;
    this.show(new Model(await api(PATH)));
    this.scale.load(this.model.duration);
    this.at = Math.max(0, this.tree.shown.findIndex((item) => item.id === id));
    this.refresh();
  }

  refresh() {
    const rows = Math.min(SHOWN_AT_MOST, Math.max(2, this.tree.shown.length));
    this.grid.style.height = `${rows * HEIGHT + HEIGHT + 4}px`;
    super.refresh();
    this.overview.draw();
    document.getElementById("whole").hidden = !this.scale.zoomed;
    const { tree } = this;
    this.note.textContent = tree.searching
      ? `${count(tree.found)} of ${count(tree.items.length)} lanes match`
      : `${duration(this.scale.from)} to ${duration(this.scale.to)} of ${duration(this.scale.whole)}. The wheel zooms on the overview, and with Ctrl here; drag to pan.`;
  }

  draw() {
    super.draw();
    const top = this.grid.scrollTop;
    const first = Math.floor(top / HEIGHT);
    const fits = Math.ceil(this.grid.clientHeight / HEIGHT) + 1;
    this.painter.draw(this.tree.shown.slice(first, first + fits), first * HEIGHT - top, this.item?.id);
  }

  makeRow() {
    const row = {
      fold: element("span", { className: "fold", "aria-hidden": "true" }),
      mark: element("span", { className: "mark" }),
      label: element("span", { className: "label" }),
      hint: element("span", { className: "hint" }),
      held: element("div", { className: "num", role: "gridcell" }),
      waited: element("div", { className: "num self", role: "gridcell" }),
      track: element("div", { className: "track", role: "gridcell" }),
    };
    row.cell = element("div", { className: "cell", role: "gridcell" }, row.fold, row.mark, row.label, row.hint);
    row.root = element("div", { className: "row", role: "row" }, row.cell, row.held, row.waited, row.track);
    return row;
  }

  fill(row, lane) {
    row.root.className = `row lane ${lane.state} ${lane.kind}${lane.detached ? " detached" : ""}${lane.dim ? " dim" : ""}`;
    row.mark.textContent = MARKS[lane.state];
    row.mark.className = `mark ${lane.state}`;
    row.label.textContent = lane.name;
    row.hint.textContent = lane.error || lane.task;
    row.root.title = [lane.name, lane.task, STATES[lane.state], lane.error].filter(Boolean).join(", ");
    row.held.textContent = lane.kind === "request" && !lane.held ? "" : duration(lane.held);
    row.waited.textContent = lane.kind === "task" ? duration(lane.waited) : "";
    const awaits = this.model.awaitsOf(lane.id).length;
    const blocked = this.model.blockingOf(lane.id).length;
    const more = [awaits && `${awaits} long awaits`, blocked && `blocked the loop ${blocked} times`].filter(Boolean).join(", ");
    row.track.setAttribute("aria-label", `${STATES[lane.state]}, from ${duration(lane.start)} for ${duration(lane.duration)}${more ? `, ${more}` : ""}`);
  }

  /** Below, for how much of the time the loop was held; above, how many tasks existed; stripes where it was blocked. */
  paintOverview(paint, width, height, colour) {
    const { model } = this;
    const { whole } = this.scale;
    const room = height - 14;
    const busyRoom = 10;
    paint.fillStyle = colour("rest");
    const most = Math.max(1, model.most);
    for (let x = 0; x < width; x += 1) {
      const alive = model.load.alive(((x + 0.5) / width) * whole);
      const high = (alive / most) * (room - busyRoom);
      paint.globalAlpha = 0.45;
      paint.fillRect(x, height - busyRoom - high - 1, 1, high);
      paint.globalAlpha = 1;
      if (alive) paint.fillRect(x, height - busyRoom - high - 2, 1, 1.5);
    }
    paint.fillStyle = colour("server");
    for (let x = 0; x < width; x += 1) {
      const busy = model.load.busy((x / width) * whole, ((x + 1) / width) * whole);
      if (busy > 0.002) paint.fillRect(x, height - Math.max(1, busy * busyRoom), 1, Math.max(1, busy * busyRoom));
    }
    paint.fillStyle = colour("warn");
    for (const call of model.blocking) {
      const left = (call.start / whole) * width;
      const wide = Math.max(2, (call.duration / whole) * width);
      paint.globalAlpha = 0.25;
      paint.fillRect(left, 0, wide, height);
      paint.globalAlpha = 1;
      paint.fillRect(left, 0, wide, 2);
    }
    paint.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    paint.fillStyle = colour("muted");
    if (model.most) paint.fillText(`${count(model.most)} ${model.most === 1 ? "task" : "tasks at once"}`, 4, 12);
  }

  // What can be done

  select(index) {
    super.select(index);
    if (inspector.isOpen()) this.inspect();
  }

  inspect() {
    const { item } = this;
    if (item) inspector.present(item.id, item.name, ...details(item, this.model));
  }

  closeDetails() {
    if (!inspector.isOpen()) return false;
    inspector.close();
    return true;
  }

  /** Around the pointer's last place when it is over the lanes, else around the selected task, else the middle. */
  zoomBy(factor) {
    const { item, scale } = this;
    const middle = (scale.from + scale.to) / 2;
    const selected = item && item.kind !== "request" ? item.start + item.duration / 2 : middle;
    scale.zoomBy(factor, this.pointed ?? selected);
    this.refresh();
  }

  panBy(share) {
    this.scale.panBy(share);
    this.refresh();
  }

  /** So that the selected task fills the time. */
  fit() {
    const { item, scale } = this;
    if (!item) return;
    scale.zoomTo(item.start - item.duration * 0.05, item.start + item.duration * 1.05);
    this.refresh();
  }

  zoomOut() {
    this.scale.reset();
    this.refresh();
  }

  /** Unfold what hides a lane, and go there. */
  reveal(id) {
    this.clearSearch();
    const index = this.tree.reveal(id);
    this.refresh();
    if (index < 0) return;
    this.select(index);
    this.inspect();
    this.grid.scrollIntoView({ block: "nearest" });
  }

  find() {
    const state = this.state.value;
    this.tree.find(this.search.value, state ? (lane) => lane.kind !== "request" && lane.state === state : null);
    this.at = Math.max(0, this.tree.shown.findIndex((item) => !item.dim));
    this.grid.scrollTop = 0;
    this.refresh();
  }

  clearSearch() {
    if (!this.tree.searching) return;
    this.search.value = "";
    this.state.value = "";
    this.tree.find("");
  }

  setUpTools() {
    const by = (id) => document.getElementById(id);
    this.search = by("find");
    this.state = by("state");
    this.search.addEventListener("input", () => this.find());
    this.state.addEventListener("change", () => this.find());
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.grid.focus();
      if (event.key === "Escape" && this.search.value) {
        event.preventDefault();
        this.search.value = "";
        this.find();
      }
    });
    by("whole").addEventListener("click", () => this.zoomOut());
    const fold = by("fold");
    fold.addEventListener("click", () => {
      const folded = fold.getAttribute("aria-pressed") !== "true";
      fold.setAttribute("aria-pressed", folded);
      this.tree.foldAll(folded);
      this.refresh();
    });
    by("copy-json").addEventListener("click", () => copyJson());
    document.querySelector(".panel").addEventListener("click", (event) => {
      const link = event.target.closest?.("a[data-lane]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      event.stopPropagation();
      this.reveal(link.dataset.lane);
    });
  }

  setUpKeys() {
    keys({
      "/": () => this.search.focus(),
      w: () => this.zoomBy(0.5),
      s: () => this.zoomBy(2),
      a: () => this.panBy(-0.2),
      d: () => this.panBy(0.2),
      f: () => this.fit(),
      0: () => this.zoomOut(),
    });
    this.grid.addEventListener("keydown", (event) => {
      if (!event.shiftKey || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      event.preventDefault();
      this.panBy(event.key === "ArrowLeft" ? -0.1 : 0.1);
    });
  }

  /** Over the lanes: Ctrl and the wheel zoom, Shift and the wheel or dragging pan, hovering tells, a click selects. */
  setUpPointer() {
    const { canvas, scale } = this;
    let drag = null;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    canvas.addEventListener(
      "wheel",
      (event) => {
        const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
        if (!event.ctrlKey && !event.metaKey && !sideways) return; // the lanes scroll
        event.preventDefault();
        wheel(scale, event, scale.at(place(event).x / canvas.clientWidth));
        this.refresh();
      },
      { passive: false },
    );
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      drag = { x: event.clientX, from: scale.from, moved: false };
    });
    canvas.addEventListener("pointermove", (event) => {
      const { x, y } = place(event);
      this.pointed = scale.at(x / canvas.clientWidth);
      if (!drag) return this.tell(event, x, y);
      if (Math.abs(event.clientX - drag.x) < 4 && !drag.moved) return;
      drag.moved = true;
      this.tip.hidden = true;
      const from = drag.from - ((event.clientX - drag.x) / canvas.clientWidth) * scale.width;
      scale.zoomTo(from, from + scale.width);
      this.refresh();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (drag && !drag.moved) {
        const index = this.indexAt(place(event).y);
        if (this.tree.shown[index]) {
          this.grid.focus({ preventScroll: true });
          this.select(index);
          this.inspect();
        }
      }
      drag = null;
    });
    canvas.addEventListener("dblclick", () => this.fit());
    canvas.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
      this.pointed = null;
    });
  }

  indexAt(y) {
    return Math.floor((y + this.grid.scrollTop) / HEIGHT);
  }

  /** What is under the pointer, in words. */
  tell(event, x, y) {
    const lane = this.tree.shown[this.indexAt(y)];
    const found = lane && this.painter.under(lane, x, (y + this.grid.scrollTop) % HEIGHT);
    this.tip.hidden = !found;
    if (!found) return;
    this.tip.replaceChildren(element("b", {}, lane.name), ...words(found, lane).map((line) => element("span", {}, line)));
    const left = Math.min(event.clientX + 12, innerWidth - this.tip.offsetWidth - 8);
    const below = event.clientY + 16 + this.tip.offsetHeight < innerHeight;
    this.tip.style.left = `${Math.max(4, left)}px`;
    this.tip.style.top = `${below ? event.clientY + 16 : event.clientY - this.tip.offsetHeight - 8}px`;
  }
}

const short = ({ path, line }) => path.split(/[\\/]/).slice(-2).join("/") + (line ? `:${line}` : "");

function words({ what, call, point, from, to }, lane) {
  if (what === "blocking") return [`▨ ${call.name} blocked the loop for ${duration(call.duration)}`, call.place ? short(call.place) : ""].filter(Boolean);
  if (what === "await") return [`◆ awaited ${point.target} for ${duration(point.duration)}`, `${point.name}${point.place ? `, ${short(point.place)}` : ""}`];
  if (what === "running") return [`■ ${lane.kind === "thread" ? "in a thread" : "held the loop"} for ${duration(to - from)}`, `from ${duration(from)}`];
  return [`${STATES[lane.state]}, ${duration(lane.duration)} in all, ${duration(lane.waited)} waiting`];
}

async function copyJson() {
  try {
    const answer = await fetch(`${base}/api/${PATH}`);
    await navigator.clipboard.writeText(await answer.text());
    say("The time line is copied");
  } catch {
    say("Not copied: the browser does not allow it", "off");
  }
}

// Details

function details(lane, model) {
  const isTask = lane.kind === "task";
  return [
    lane.error && element("p", { className: "callout error" }, element("span", { className: "mark error", "aria-hidden": "true" }, "▲ "), lane.error),
    inspector.facts([
      ["State", state(lane)],
      [lane.kind === "thread" ? "Thread" : "Name", lane.task],
      ["Created", lane.place && inspector.place(lane.place)],
      ["Starts after", duration(lane.start)],
      [lane.kind === "thread" ? "Queued" : "First step", lane.started !== null && `${duration(lane.started)} later`],
      ["Duration", duration(lane.duration)],
      [lane.kind === "thread" ? "CPU" : "Held the loop", (isTask || lane.held > 0) && duration(lane.held)],
      ["Waited", isTask && duration(lane.waited)],
      ["Steps", lane.steps !== null && count(lane.steps)],
      ["Kind", KINDS[lane.kind] + (lane.detached ? ", after the response" : "")],
      ["Span", element("a", { className: "mono", href: traceLink(lane.id) }, lane.id)],
    ]),
    ...blockingDetails(model.blockingOf(lane.id)),
    ...awaitDetails(model.awaitsOf(lane.id)),
  ];
}

function state(lane) {
  return element("span", {}, element("span", { className: `mark ${lane.state}`, "aria-hidden": "true" }, MARKS[lane.state] || "●"), ` ${STATES[lane.state]}`);
}

function traceLink(id) {
  const url = new URL(location.href);
  url.searchParams.set("panel", "trace");
  url.searchParams.set("span", id);
  return url.href;
}

function blockingDetails(calls) {
  return calls.flatMap((call) => [
    inspector.title("Blocked the loop", duration(call.duration)),
    call.cause && element("p", { className: "muted" }, CAUSES[call.cause] ?? call.cause),
    element("ol", { className: "stack" }, ...(call.stack.length ? call.stack : call.place ? [call.place] : []).map((frame) => element("li", {}, inspector.place(frame)))),
  ]);
}

const AWAITS = 100;

function awaitDetails(awaits) {
  if (!awaits.length) return [];
  const items = awaits.slice(0, AWAITS).map((point) =>
    element(
      "li",
      {},
      element("b", {}, point.target),
      ` ${duration(point.duration)} `,
      element("span", { className: "muted" }, `after ${duration(point.start)}${point.queued ? `, ready for ${duration(point.queued)} of it` : ""}`),
      element("br"),
      point.place ? inspector.place(point.place) : point.name,
    ),
  );
  return [
    inspector.title("Long awaits", count(awaits.length)),
    element("ol", { className: "plain awaits" }, ...items),
    awaits.length > AWAITS && element("p", { className: "muted" }, `${count(awaits.length - AWAITS)} more in the JSON.`),
  ];
}
