// The messages of a websocket connection: a grid that follows the end, and one message in detail.

import { base, count, duration, element, keys, page, size } from "./common.js";
import { digitsOf, dump, parse, tree } from "./payload.js";

const HEIGHT = 24;
const SHOWN = 500;
const PREVIEW = 300;
const EMBED = document.body.classList.contains("embed") ? "&embed=1" : "";

const spanLink = (id) => `${base}/t/${page.trace}?panel=trace&span=${id}${EMBED}`;
const several = (number, word) => `${count(number)} ${number === 1 ? word : word === "query" ? "queries" : `${word}s`}`;

function way(message) {
  const sent = message.direction === "transmit";
  return element("span", { className: `way ${sent ? "out" : "in"}` }, element("span", { "aria-hidden": "true" }, sent ? "↑ " : "↓ "), sent ? "sent" : "received");
}

function preview(message) {
  const text = message.text || message.hex;
  if (text) return text.slice(0, PREVIEW).replace(/\s+/g, " ");
  if (message.size === 0) return "(empty)";
  return message.recorded || !["text", "binary"].includes(message.type) ? "" : "content not recorded";
}

/** What the handler did because of a message, in few words. */
const effects = (message) =>
  [
    message.queries && several(message.queries, "query"),
    message.tasks && several(message.tasks, "task"),
    message.sends && `${count(message.sends)} sent`,
  ].filter(Boolean);

export class Messages {
  constructor(root, following) {
    this.root = root;
    this.all = [];
    this.rows = new Map();
    this.texts = new Map();
    this.following = following;
    this.news = 0;
    this.selected = "";
    this.view = "";
    this.build();
    this.setUpTools();
    this.setUpKeys();
  }

  build() {
    const heads = [["", "Direction"], ["", "Message"], ["effects", "Caused"], ["num", "Size"], ["num", "After"]];
    const head = element("div", { className: "message-head message-row", role: "row" }, ...heads.map(([className, text]) => element("div", { className, role: "columnheader" }, text)));
    this.list = element("div", { role: "rowgroup" });
    this.grid = element("div", { className: "grid", role: "grid", tabIndex: 0, "aria-label": "Messages, oldest first" }, head, this.list);
    this.pill = element("button", { type: "button", className: "pill", hidden: true, onclick: () => this.follow(true) });
    this.silent = element("p", { className: "muted silent" }, document.getElementById("silent")?.textContent ?? "");
    this.detail = element("section", { className: "message", tabIndex: 0, hidden: true, "aria-label": "Message" });
    this.root.replaceChildren(element("div", { className: "log" }, this.grid, this.silent, this.pill), this.detail);
    this.root.classList.add("live-messages");
    this.grid.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.note = document.getElementById("matching");
    new ResizeObserver(() => this.following && this.toEnd()).observe(this.grid);
  }

  // What is shown

  /** Take the messages as they are now: rows that stay keep their place under the reader's eye. */
  load(messages) {
    const news = messages.filter((message) => !this.texts.has(message.id));
    this.all = messages;
    this.texts = new Map(messages.map((message) => [message.id, this.texts.get(message.id) ?? `${message.text} ${message.hex} ${message.error}`.toLowerCase()]));
    this.byId = new Map(messages.map((message) => [message.id, message]));
    this.fillTypes();
    if (!this.following && this.started) this.news += news.filter((message) => this.matches(message)).length;
    this.started = true;
    this.draw();
    if (this.selected) this.redraw();
  }

  draw() {
    const anchor = this.anchor();
    const matching = this.all.filter((message) => this.matches(message));
    this.shown = matching.slice(-SHOWN);
    const wanted = new Set(this.shown.map((message) => message.id));
    for (const [id, row] of this.rows) {
      if (wanted.has(id)) continue;
      row.root.remove();
      this.rows.delete(id);
    }
    let before = null;
    for (const [place, message] of this.shown.entries()) {
      const row = this.row(message);
      row.root.setAttribute("aria-rowindex", place + 2);
      const next = before ? before.nextSibling : this.list.firstChild;
      if (next !== row.root) this.list.insertBefore(row.root, next);
      before = row.root;
    }
    this.grid.setAttribute("aria-rowcount", this.shown.length + 1);
    this.silent.hidden = this.shown.length > 0;
    if (this.all.length) this.silent.textContent = "No message matches.";
    this.mark();
    if (this.following) this.toEnd();
    else if (anchor?.root.isConnected) this.grid.scrollTop = anchor.root.offsetTop - anchor.below;
    this.tell(matching.length);
  }

  /** The first row in view, with how far below the upper edge it is. */
  anchor() {
    for (const row of this.rows.values()) {
      if (row.root.offsetTop + HEIGHT > this.grid.scrollTop + HEIGHT) return { root: row.root, below: row.root.offsetTop - this.grid.scrollTop };
    }
    return null;
  }

  row(message) {
    const state = `${message.duration === null} ${message.queries} ${message.tasks} ${message.sends} ${message.error}`;
    let row = this.rows.get(message.id);
    if (row && row.state === state) return row;
    const cell = (className, ...content) => element("div", { className, role: "gridcell" }, ...content);
    const cells = [
      cell("", way(message)),
      cell("mono text", message.error && element("span", { className: "mark error", title: message.error }, "▲"), message.type === "text" ? "" : element("span", { className: "tag" }, message.type), preview(message)),
      cell("effects muted", effects(message).join(" · ")),
      cell("num", size(message.size)),
      cell("num muted", `+${duration(message.at)}`),
    ];
    if (!row) {
      row = { root: element("div", { className: "message-row row-of", role: "row", id: `m-${message.id}` }) };
      row.root.addEventListener("click", () => this.select(message.id));
      this.rows.set(message.id, row);
    }
    row.state = state;
    row.root.classList.toggle("failed", Boolean(message.error));
    row.root.replaceChildren(...cells);
    return row;
  }

  mark() {
    for (const [id, row] of this.rows) row.root.setAttribute("aria-selected", id === this.selected);
    if (this.rows.has(this.selected)) this.grid.setAttribute("aria-activedescendant", `m-${this.selected}`);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  tell(matching) {
    const filtered = this.wanted || this.way || this.type;
    const parts = [];
    if (filtered) parts.push(`${count(matching)} of ${count(this.all.length)} match`);
    if (matching > SHOWN) parts.push(`the last ${SHOWN} are shown`);
    const text = parts.join(", ");
    if (this.note.textContent !== text) this.note.textContent = text;
    this.pill.textContent = `${count(this.news)} new ↓`;
    this.pill.hidden = this.news === 0;
  }

  // Following

  follow(on) {
    this.following = on;
    this.news = on ? 0 : this.news;
    this.button.setAttribute("aria-pressed", on);
    if (on) this.toEnd();
    this.tell(this.shown.length);
  }

  toEnd() {
    this.grid.scrollTop = this.grid.scrollHeight;
  }

  scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.grid;
    const atEnd = scrollTop + clientHeight >= scrollHeight - HEIGHT;
    if (atEnd !== this.following && (atEnd ? this.live : true)) this.follow(atEnd);
    else if (atEnd && this.news) {
      this.news = 0;
      this.tell(this.shown.length);
    }
  }

  // Filtering

  matches(message) {
    if (this.way && message.direction !== this.way) return false;
    if (this.type && message.type !== this.type) return false;
    return !this.wanted || this.texts.get(message.id).includes(this.wanted);
  }

  fillTypes() {
    const select = document.getElementById("type");
    const known = new Set([...select.options].map((option) => option.value));
    for (const { type } of this.all) {
      if (known.has(type)) continue;
      known.add(type);
      select.append(element("option", { value: type }, type));
    }
  }

  read() {
    this.wanted = document.getElementById("find").value.trim().toLowerCase();
    this.way = document.getElementById("way").value;
    this.type = document.getElementById("type").value;
  }

  filter() {
    this.read();
    this.news = 0;
    this.draw();
  }

  setUpTools() {
    const find = document.getElementById("find");
    for (const id of ["find", "way", "type"]) document.getElementById(id).addEventListener("input", () => this.filter());
    find.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.grid.focus();
      if (event.key === "Escape" && find.value) {
        event.preventDefault();
        find.value = "";
        this.filter();
      }
    });
    this.read(); // who was quicker than the script has typed already
    this.button = document.getElementById("follow");
    this.button.addEventListener("click", () => this.follow(!this.following));
    keys({ "/": () => find.focus(), f: () => this.follow(!this.following), j: () => this.step(1), k: () => this.step(-1), Escape: () => !this.detail.hidden && (this.close(), true) });
  }

  // One message

  setUpKeys() {
    const page = () => Math.max(1, Math.floor(this.grid.clientHeight / HEIGHT) - 2);
    const moves = {
      ArrowDown: () => this.step(1),
      ArrowUp: () => this.step(-1),
      PageDown: () => this.step(page()),
      PageUp: () => this.step(-page()),
      Home: () => this.step(-Infinity),
      End: () => this.step(Infinity),
      Enter: () => !this.detail.hidden && (this.detail.focus(), true),
    };
    this.grid.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if (move && !event.altKey && !event.ctrlKey && !event.metaKey && move() !== false) event.preventDefault();
    });
  }

  step(by) {
    if (!this.shown.length) return;
    const at = this.shown.findIndex((message) => message.id === this.selected);
    const last = this.shown.length - 1;
    // From nothing, down goes to what is in view, which is the end when it is followed.
    const from = at >= 0 ? at : this.following ? last + (by < 0 ? 1 : 0) : by < 0 ? 1 : -1;
    const next = Math.max(0, Math.min(last, from + by));
    this.select(this.shown[next].id);
    this.grid.focus({ preventScroll: true });
  }

  select(id) {
    this.selected = id;
    this.detail.hidden = false;
    // Who reads one does not want it to run away.
    if (this.following && id !== this.shown.at(-1)?.id) this.follow(false);
    this.mark();
    this.reveal(id);
    this.redraw(true);
  }

  /** Scroll a row into view, and no other scroller. */
  reveal(id) {
    const row = this.rows.get(id)?.root;
    if (!row) return;
    const head = HEIGHT;
    if (row.offsetTop - head < this.grid.scrollTop) this.grid.scrollTop = row.offsetTop - head;
    else if (row.offsetTop + HEIGHT > this.grid.scrollTop + this.grid.clientHeight) this.grid.scrollTop = row.offsetTop + HEIGHT - this.grid.clientHeight;
  }

  close() {
    this.detail.hidden = true;
    this.selected = "";
    this.mark();
    this.grid.focus({ preventScroll: true });
  }

  /** Show the selected message; unless it is `fresh`, only what can have changed. */
  redraw(fresh = false) {
    const known = this.byId.get(this.selected);
    if (known) this.kept = known;
    const gone = !known;
    if (fresh) {
      this.facts = element("div");
      this.body = element("div");
      this.detail.replaceChildren(this.head(), this.facts, this.body);
      this.detail.scrollTop = 0;
      this.show();
    }
    const state = JSON.stringify([gone, this.kept.duration, this.kept.sends, this.kept.queries, this.kept.tasks, this.kept.spans, this.kept.error]);
    if (!fresh && this.state === state) return;
    this.state = state;
    this.facts.replaceChildren(...this.told(this.kept, gone));
  }

  head() {
    const message = this.kept;
    const close = element("button", { type: "button", className: "quiet", onclick: () => this.close() }, "Close");
    return element("div", { className: "inspector-head" }, element("h2", {}, way(message), ` ${message.number === null ? "" : `#${count(message.number)} `}${message.type}, ${size(message.size)}`), close);
  }

  told(message, gone) {
    const caused = effects(message).join(", ");
    const moment = new Date(message.time * 1000);
    const facts = [
      ["At", `${moment.toLocaleTimeString("en-GB")}.${String(moment.getMilliseconds()).padStart(3, "0")}`],
      ["Gap", message.gap === null ? "" : duration(message.gap)],
      [message.direction === "receive" ? "Handled in" : "Sent in", duration(message.duration)],
      ["Answered after", message.answer === null ? "" : duration(message.answer)],
      ["Caused", caused || (message.direction === "receive" && message.duration !== null ? "nothing with a span" : "")],
      ["Because of", message.answers && this.jump(message.answers)],
    ];
    const rows = facts.filter(([, value]) => value).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
    const parts = [element("dl", { className: "figures" }, ...rows)];
    if (message.error) parts.unshift(element("p", { className: "callout error" }, element("span", { className: "mark error", "aria-hidden": "true" }, "▲ "), message.error));
    if (gone) parts.unshift(element("p", { className: "callout" }, "This message is no longer kept; newer ones took its place."));
    return parts;
  }

  actions(message) {
    const made = [element("a", { className: "quiet", href: spanLink(message.id), title: message.spans ? `${several(message.spans, "span")} below it` : "" }, "Show in trace")];
    if (message.text) {
      const copy = element("button", { type: "button", className: "quiet" }, "Copy text");
      copy.dataset.copy = message.text;
      made.unshift(copy);
    }
    return made;
  }

  jump(id) {
    const cause = this.byId.get(id);
    if (!cause) return element("a", { href: spanLink(id) }, "a message no longer kept");
    return element("button", { type: "button", className: "quiet cause", onclick: () => this.select(id) }, `↓ ${preview(cause).slice(0, 40) || cause.type}`);
  }

  /** The content, in the form that was chosen last where this message has it. */
  show() {
    const message = this.kept;
    const value = message.text ? parse(message.text) : null;
    const forms = {
      ...(value !== null && { JSON: () => tree(value) }),
      ...(message.text && { Text: () => element("pre", { className: "body" }, message.text) }),
      ...((message.text || message.hex) && { Hex: () => element("pre", { className: "body hex", tabIndex: 0 }, dump(message.hex || digitsOf(message.text), this.detail.clientWidth < 540 ? 8 : 16)) }),
    };
    const names = Object.keys(forms);
    const chosen = forms[this.view] ? this.view : names[0];
    const buttons = names.map((name) =>
      element("button", { type: "button", className: "quiet", "aria-pressed": String(name === chosen), onclick: () => ((this.view = name), this.show(), this.body.querySelector("[aria-pressed=true]").focus()) }, name),
    );
    const choice = names.length > 1 && element("span", { className: "forms", role: "group", "aria-label": "Show content as" }, ...buttons);
    this.body.replaceChildren(
      element("p", { className: "actions" }, choice || null, ...this.actions(message)),
      ...(message.truncated ? [element("p", { className: "muted" }, this.cut(message, value))] : []),
      chosen ? forms[chosen]() : element("p", { className: "muted" }, this.nothing(message)),
    );
  }

  cut(message, value) {
    const bytes = message.text ? new TextEncoder().encode(message.text).length : Math.floor(message.hex.replace(/\s/g, "").length / 2);
    const tree = message.text && value === null && /^\s*[[{]/.test(message.text) ? ", so its JSON is not whole" : "";
    return `Cut: the first ${size(bytes)} of ${size(message.size)} are kept${tree}.`;
  }

  nothing(message) {
    if (message.size === 0) return "An empty message.";
    return message.type === "binary"
      ? "Its bytes were not recorded: OTEL_TOOLBAR_WEBSOCKET_BINARY=true keeps the first ones."
      : "Its content was not recorded (OTEL_TOOLBAR_WEBSOCKET_CONTENT).";
  }
}
