// The waterfall: a tree of spans on a time line. Only the rows in view are in the document.

import { api, count, duration, element, keys, page } from "./common.js";
import * as inspector from "./inspector.js";
import { Minimap } from "./minimap.js";
import { Tree } from "./tree.js";

const HEIGHT = 24;
const DEEPEST = 12;

/** Take the place of the server's table. */
export async function open() {
  const root = document.getElementById("waterfall");
  const view = await api(`traces/${page.trace}/panels/trace`);
  return new Waterfall(root, view);
}

class Waterfall {
  constructor(root, view) {
    this.tree = new Tree(view);
    this.at = 0;
    this.pool = [];
    this.build(root);
    this.setUpKeys();
    this.setUpTools();
    this.reset();
    const first = this.tree.reveal(page.span ?? "");
    this.refresh();
    if (first >= 0) this.select(first);
  }

  build(root) {
    this.axis = element("div", { className: "axis", role: "columnheader", "aria-label": "Time line" });
    const head = element(
      "div",
      { className: "grid-head", role: "row" },
      element("div", { role: "columnheader" }, "Span"),
      element("div", { role: "columnheader", className: "num" }, "Duration"),
      element("div", { role: "columnheader", className: "num self", title: "Time in it and in none of its children" }, "Self"),
      this.axis,
    );
    this.rows = element("div", { className: "rows", role: "presentation" });
    this.spacer = element("div", { className: "spacer", role: "presentation" });
    this.grid = element(
      "div",
      { className: "grid", role: "treegrid", tabIndex: 0, "aria-label": "Spans, parents before children" },
      head,
      this.rows,
      this.spacer,
    );
    this.note = element("p", { className: "note", role: "status" });
    this.minimap = new Minimap(this.tree, (from, to) => this.zoomTo(from, to));
    this.grid.addEventListener("scroll", () => this.drawSoon(), { passive: true });
    new ResizeObserver(() => {
      this.drawAxis();
      this.drawSoon();
    }).observe(this.grid);
    root.replaceChildren(this.minimap.canvas, this.grid, this.note);
  }

  // What is shown

  reset() {
    this.from = 0;
    this.to = this.tree.view.duration || 1e-9;
  }

  update(view) {
    const whole = this.from === 0 && this.to === (this.tree.view.duration || 1e-9);
    const id = this.tree.shown[this.at]?.id;
    this.tree.load(view);
    if (whole) this.reset();
    this.at = Math.max(0, this.tree.shown.findIndex((item) => item.id === id));
    this.refresh();
  }

  refresh() {
    this.spacer.style.height = `${this.tree.shown.length * HEIGHT}px`;
    this.grid.setAttribute("aria-rowcount", this.tree.shown.length + 1);
    this.minimap.show(this.from, this.to);
    this.drawAxis();
    this.draw();
    const { shown, view, wanted } = this.tree;
    this.note.textContent = wanted
      ? `${count(this.tree.found)} of ${count(view.spans.length)} spans match`
      : shown.length < view.spans.length
        ? `${count(view.spans.length)} spans, ${count(shown.length)} rows: like neighbours are folded`
        : "";
  }

  drawSoon() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    const top = this.grid.scrollTop;
    const first = Math.max(0, Math.floor(top / HEIGHT) - 2);
    const fits = Math.ceil(this.grid.clientHeight / HEIGHT) + 4;
    while (this.pool.length < fits) this.pool.push(this.makeRow());
    for (const [number, row] of this.pool.entries()) {
      const index = first + number;
      const item = number < fits ? this.tree.shown[index] : undefined;
      row.root.hidden = !item;
      if (!item) continue;
      row.root.style.transform = `translateY(${index * HEIGHT - top}px)`;
      this.fill(row, item, index);
    }
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
    row.root.addEventListener("click", (event) => {
      this.select(row.index);
      if (event.target === row.fold) this.tree.toggle(row.index) && this.refresh();
      else this.inspect();
    });
    this.rows.append(row.root);
    return row;
  }

  fill(row, item, index) {
    const { root } = row;
    row.index = index;
    root.id = `row-${index}`;
    root.className = `row c-${item.category}${item.error ? " failed" : ""}${item.critical ? " critical" : ""}${item.detached ? " detached" : ""}${item.dim ? " dim" : ""}`;
    root.setAttribute("aria-rowindex", index + 2);
    root.setAttribute("aria-level", item.depth + 1);
    root.setAttribute("aria-selected", index === this.at);
    if (item.foldable) root.setAttribute("aria-expanded", !item.folded);
    else root.removeAttribute("aria-expanded");
    row.cell.style.paddingInlineStart = `${Math.min(item.depth, DEEPEST) * 12}px`;
    row.fold.textContent = item.foldable ? (item.folded ? "▸" : "▾") : "";
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
    const width = this.to - this.from;
    const percent = (time) => `${(((time - this.from) / width) * 100).toFixed(3)}%`;
    bar.style.insetInlineStart = percent(item.start);
    bar.style.width = `${((item.duration_shown / width) * 100).toFixed(3)}%`;
    bar.className = item.running ? "open" : "";
    while (track.childElementCount > 1) track.lastChild.remove();
    for (const event of item.events) {
      const mark = element("u", { title: `${event.name} at ${duration(event.at)}` });
      mark.style.insetInlineStart = percent(event.at);
      track.append(mark);
    }
  }

  drawAxis() {
    const width = this.to - this.from;
    const step = niceStep(width / Math.max(1, Math.floor(this.axis.clientWidth / 84)));
    const ticks = [];
    for (let time = Math.ceil(this.from / step) * step; time < this.to; time += step) {
      if (((this.to - time) / width) * this.axis.clientWidth < 56) break; // no room for its text
      const tick = element("span", {}, time === 0 ? "0" : duration(time));
      tick.style.insetInlineStart = `${((time - this.from) / width) * 100}%`;
      ticks.push(tick);
    }
    this.axis.replaceChildren(...ticks);
  }

  // What can be done

  select(index) {
    const last = this.tree.shown.length - 1;
    this.at = Math.max(0, Math.min(last, index));
    const y = this.at * HEIGHT;
    const room = this.grid.clientHeight - HEIGHT;
    if (y < this.grid.scrollTop) this.grid.scrollTop = y;
    else if (y + HEIGHT > this.grid.scrollTop + room) this.grid.scrollTop = y + HEIGHT - room;
    this.draw();
    this.grid.setAttribute("aria-activedescendant", `row-${this.at}`);
    if (inspector.isOpen()) {
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.inspect(), 80);
    }
  }

  inspect() {
    const item = this.tree.shown[this.at];
    if (item) inspector.show(item.span_id);
  }

  fold(folded) {
    const item = this.tree.shown[this.at];
    if (!item) return;
    if (item.foldable && item.folded !== folded) {
      this.tree.toggle(this.at);
      this.refresh();
    } else if (folded) this.select(this.tree.parentOf(this.at));
    else if (item.foldable) this.select(this.at + 1);
  }

  zoomTo(from, to) {
    const whole = this.tree.view.duration || 1e-9;
    const width = Math.min(whole, Math.max(to - from, whole / 1e5));
    this.from = Math.max(0, Math.min(whole - width, from));
    this.to = this.from + width;
    document.getElementById("whole").hidden = width >= whole;
    this.refresh();
  }

  /** Around the selected span, so that it stays in sight. */
  zoomBy(factor) {
    const item = this.tree.shown[this.at];
    const middle = item ? item.start + item.duration_shown / 2 : (this.from + this.to) / 2;
    const anchor = Math.max(this.from, Math.min(this.to, middle));
    this.zoomTo(anchor - (anchor - this.from) * factor, anchor + (this.to - anchor) * factor);
  }

  zoomOut() {
    this.zoomTo(0, this.tree.view.duration || 1e-9);
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

  setUpKeys() {
    const page = () => Math.max(1, Math.floor(this.grid.clientHeight / HEIGHT) - 2);
    const moves = {
      ArrowDown: () => this.select(this.at + 1),
      ArrowUp: () => this.select(this.at - 1),
      j: () => this.select(this.at + 1),
      k: () => this.select(this.at - 1),
      PageDown: () => this.select(this.at + page()),
      PageUp: () => this.select(this.at - page()),
      Home: () => this.select(0),
      End: () => this.select(this.tree.shown.length - 1),
      ArrowLeft: () => this.fold(true),
      ArrowRight: () => this.fold(false),
      Enter: () => this.inspect(),
      Escape: () => inspector.isOpen() && (inspector.close(), true),
    };
    this.grid.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if (move && !event.altKey && !event.ctrlKey && !event.metaKey && move() !== false) event.preventDefault();
    });
    keys({ j: () => this.step(1), k: () => this.step(-1), Escape: moves.Escape });
  }

  step(by) {
    this.grid.focus();
    this.select(this.at + by);
  }
}

/** 1, 2 or 5 times a power of ten, at least `least`. */
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((factor) => factor * power >= least) ?? 10);
}
