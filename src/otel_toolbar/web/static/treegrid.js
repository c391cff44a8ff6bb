// A tree as rows, of which only those in view are in the document, walked through by keyboard.

import { element, keys } from "./common.js";

export const HEIGHT = 24;
const DEEPEST = 12;

/** Base of the waterfall and of the lanes: these make a row, fill it, and say what Enter opens. */
export class TreeGrid {
  constructor(tree, scale, { label, columns, id }) {
    this.tree = tree;
    this.scale = scale;
    this.at = 0;
    this.pool = [];
    this.axis = element("div", { className: "axis", role: "columnheader", "aria-label": "Time line" });
    const titles = columns.map(({ text, ...more }) => element("div", { role: "columnheader", ...more }, text));
    this.head = element("div", { className: "grid-head", role: "row" }, ...titles, this.axis);
    this.rows = element("div", { className: "rows", role: "presentation" });
    this.spacer = element("div", { className: "spacer", role: "presentation" });
    this.grid = element(
      "div",
      { className: "grid", id, role: "treegrid", tabIndex: 0, "aria-label": label },
      this.head,
      this.rows,
      this.spacer,
    );
    this.grid.addEventListener("scroll", () => this.drawSoon(), { passive: true });
    new ResizeObserver(() => {
      this.drawAxis();
      this.drawSoon();
    }).observe(this.grid);
    this.setUpRowKeys();
  }

  get item() {
    return this.tree.shown[this.at];
  }

  refresh() {
    this.spacer.style.height = `${this.tree.shown.length * HEIGHT}px`;
    this.grid.setAttribute("aria-rowcount", this.tree.shown.length + 1);
    this.at = Math.max(0, Math.min(this.at, this.tree.shown.length - 1));
    this.drawAxis();
    this.draw();
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
    while (this.pool.length < fits) this.pool.push(this.addRow());
    for (const [number, row] of this.pool.entries()) {
      const index = first + number;
      const item = number < fits ? this.tree.shown[index] : undefined;
      row.root.hidden = !item;
      if (!item) continue;
      row.root.style.transform = `translateY(${index * HEIGHT - top}px)`;
      row.index = index;
      row.root.id = `row-${index}`;
      row.root.setAttribute("aria-rowindex", index + 2);
      row.root.setAttribute("aria-level", item.depth + 1);
      row.root.setAttribute("aria-selected", index === this.at);
      if (item.foldable) row.root.setAttribute("aria-expanded", !item.folded);
      else row.root.removeAttribute("aria-expanded");
      row.cell.style.paddingInlineStart = `${Math.min(item.depth, DEEPEST) * 12}px`;
      row.fold.textContent = item.foldable ? (item.folded ? "▸" : "▾") : "";
      this.fill(row, item, index);
    }
  }

  addRow() {
    const row = this.makeRow();
    row.root.addEventListener("click", (event) => {
      this.select(row.index);
      if (event.target === row.fold) this.tree.toggle(row.index) && this.refresh();
      else this.inspect();
    });
    this.rows.append(row.root);
    return row;
  }

  drawAxis() {
    const ticks = this.scale.ticks(this.axis.clientWidth).map(({ share, text }) => {
      const tick = element("span", {}, text);
      tick.style.insetInlineStart = `${share * 100}%`;
      return tick;
    });
    this.axis.replaceChildren(...ticks);
  }

  select(index) {
    const last = this.tree.shown.length - 1;
    this.at = Math.max(0, Math.min(last, index));
    const y = this.at * HEIGHT;
    const room = this.grid.clientHeight - HEIGHT;
    if (y < this.grid.scrollTop) this.grid.scrollTop = y;
    else if (y + HEIGHT > this.grid.scrollTop + room) this.grid.scrollTop = y + HEIGHT - room;
    this.draw();
    this.grid.setAttribute("aria-activedescendant", `row-${this.at}`);
  }

  fold(folded) {
    const item = this.item;
    if (!item) return;
    if (item.foldable && item.folded !== folded) {
      this.tree.toggle(this.at);
      this.refresh();
    } else if (folded) this.select(this.tree.parentOf(this.at));
    else if (item.foldable) this.select(this.at + 1);
  }

  setUpRowKeys() {
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
      Escape: () => this.closeDetails(),
    };
    this.grid.addEventListener("keydown", (event) => {
      const move = !event.shiftKey && moves[event.key];
      if (move && !event.altKey && !event.ctrlKey && !event.metaKey && move() !== false) event.preventDefault();
    });
    keys({ j: () => this.step(1), k: () => this.step(-1), Escape: () => this.closeDetails() });
  }

  step(by) {
    this.grid.focus();
    this.select(this.at + by);
  }
}
