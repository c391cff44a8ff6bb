// The waterfall: a tree of spans on a time line.

import { api, count, duration, element, keys, page } from "./common.js";
import * as inspector from "./inspector.js";
import { Overview } from "./overview.js";
import { TimeScale } from "./timescale.js";
import { Tree } from "./tree.js";
import { TreeGrid } from "./treegrid.js";

const COLUMNS = [
  { text: "Span" },
  { text: "Duration", className: "num" },
  { text: "Self", className: "num self", title: "Time in it and in none of its children" },
];

/** Take the place of the server's table. */
export async function open() {
  const root = document.getElementById("waterfall");
  const view = await api(`traces/${page.trace}/panels/trace`);
  return new Waterfall(root, view);
}

class Waterfall extends TreeGrid {
  constructor(root, view) {
    super(new Tree(view.spans, { runs: true }), new TimeScale(view.duration), {
      label: "Spans, parents before children",
      columns: COLUMNS,
      id: "spans",
    });
    this.view = view;
    this.note = element("p", { className: "note", role: "status" });
    this.stripes = element("div", { className: "track" });
    this.rows.before(element("div", { className: "stripes", "aria-hidden": "true" }, this.stripes));
    this.overview = new Overview(this.scale, {
      label: "Part of the time that is shown",
      height: 40,
      controls: "spans",
      paint: (...canvas) => this.paintOverview(...canvas),
      onChange: () => this.refresh(),
    });
    root.replaceChildren(this.overview.canvas, this.grid, this.note);
    this.setUpTools();
    const first = this.tree.reveal(page.span ?? "");
    this.refresh();
    if (first >= 0) this.select(first);
  }

  // What is shown

  update(view) {
    const id = this.item?.id;
    this.view = view;
    this.tree.load(view.spans);
    this.scale.load(view.duration);
    this.at = Math.max(0, this.tree.shown.findIndex((item) => item.id === id));
    this.refresh();
  }

  refresh() {
    super.refresh();
    this.overview.draw();
    this.drawStripes();
    document.getElementById("whole").hidden = !this.scale.zoomed;
    const { shown, items, wanted } = this.tree;
    this.note.textContent = wanted
      ? `${count(this.tree.found)} of ${count(items.length)} spans match`
      : shown.length < items.length
        ? `${count(items.length)} spans, ${count(shown.length)} rows: like neighbours are folded`
        : "";
  }

  makeRow() {
    const row = {
      fold: element("span", { className: "fold", "aria-hidden": "true" }),
      bracket: element("span", { className: "bracket", "aria-hidden": "true" }),
      label: element("span", { className: "label" }),
      hint: element("span", { className: "hint" }),
      duration: element("div", { className: "num", role: "gridcell" }),
      self: element("div", { className: "num self", role: "gridcell" }),
      track: element("div", { className: "track", role: "gridcell" }),
      bar: element("i"),
    };
    row.cell = element("div", { className: "cell", role: "gridcell" }, row.fold, row.bracket, row.label, row.hint);
    row.track.append(row.bar);
    row.root = element("div", { className: "row", role: "row" }, row.cell, row.duration, row.self, row.track);
    return row;
  }

  fill(row, item) {
    const { root } = row;
    root.className = `row c-${item.category}${item.error ? " failed" : ""}${item.critical ? " critical" : ""}${item.detached ? " detached" : ""}${item.dim ? " dim" : ""}`;
    row.bracket.className = `bracket ${item.bracket}`;
    row.bracket.hidden = !item.bracket;
    row.label.textContent = (item.error ? "▲ " : "") + item.name;
    row.hint.textContent = item.error || item.text;
    root.title = item.error || item.text;
    row.duration.textContent = duration(item.duration);
    row.self.textContent = duration(item.self_time);
    this.place(row, item);
  }

  place({ bar, track }, item) {
    this.lay(bar, item.start, item.duration_shown);
    bar.className = item.running ? "open" : "";
    while (track.childElementCount > 1) track.lastChild.remove();
    for (const event of item.events) {
      const mark = element("u", { title: `${event.name} at ${duration(event.at)}` });
      mark.style.insetInlineStart = this.percent(this.scale.share(event.at));
      track.append(mark);
    }
  }

  percent(share) {
    return `${(share * 100).toFixed(3)}%`;
  }

  lay(bar, start, length) {
    bar.style.insetInlineStart = this.percent(this.scale.share(start));
    bar.style.width = this.percent(length / this.scale.width);
  }

  /** Over all rows, where nothing could run. */
  drawStripes() {
    const stripes = this.view.blocked.map(({ start, duration: length }) => {
      const stripe = element("b");
      this.lay(stripe, start, length);
      return stripe;
    });
    this.stripes.replaceChildren(...stripes);
  }

  paintOverview(paint, width, height, colour) {
    const { items } = this.tree;
    const { whole } = this.scale;
    const deepest = items.reduce((most, span) => Math.max(most, span.depth), 0);
    const row = height / (deepest + 1);
    for (const span of items) {
      const x = (span.start / whole) * width;
      const long = Math.max(1, (span.duration / whole) * width);
      paint.fillStyle = colour(span.category);
      paint.fillRect(x, span.depth * row, long, Math.max(1, row - 1));
      if (!span.error) continue;
      paint.fillStyle = colour("bad");
      paint.fillRect(x, (span.depth + 1) * row - 3, Math.max(2, long), 2);
    }
  }

  // What can be done

  select(index) {
    super.select(index);
    if (inspector.isOpen()) {
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.inspect(), 80);
    }
  }

  inspect() {
    if (this.item) inspector.show(this.item.span_id);
  }

  closeDetails() {
    if (!inspector.isOpen()) return false;
    inspector.close();
    return true;
  }

  /** Around the selected span, so that it stays in sight. */
  zoomBy(factor) {
    const { item, scale } = this;
    scale.zoomBy(factor, item ? item.start + item.duration_shown / 2 : (scale.from + scale.to) / 2);
    this.refresh();
  }

  zoomOut() {
    this.scale.reset();
    this.refresh();
  }

  find(text) {
    this.tree.find(text);
    this.at = Math.max(0, this.tree.shown.findIndex((item) => !item.dim));
    this.grid.scrollTop = 0;
    this.refresh();
  }

  setUpTools() {
    const find = document.getElementById("find");
    find.addEventListener("input", () => this.find(find.value));
    find.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.grid.focus();
      if (event.key === "Escape" && find.value) {
        event.preventDefault();
        find.value = "";
        this.find("");
      }
    });
    const critical = document.getElementById("critical");
    const toggle = () => {
      const on = this.grid.classList.toggle("critical-on");
      critical.setAttribute("aria-pressed", on);
    };
    critical.addEventListener("click", toggle);
    document.getElementById("whole").addEventListener("click", () => this.zoomOut());
    keys({ "/": () => find.focus(), c: toggle, w: () => this.zoomBy(0.5), s: () => this.zoomBy(2), 0: () => this.zoomOut() });
  }
}
