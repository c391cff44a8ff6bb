// The list of traces: live, filtered, by keyboard. Beside a trace it is the same list, narrow.

import { api, base, count, duration, element, keys, page, pin, rate, say, size } from "./common.js";
import { follow } from "./stream.js";

const whole = document.body.classList.contains("history");
const most = whole ? 200 : 50;
const table = document.getElementById("list");
const body = table.tBodies[0];
const pill = document.getElementById("new");
const held = new Map();
// The view of websocket connections: what they carried instead of queries, live ones first.
const sockets = () => table.classList.contains("sockets");
const rowOf = (id) => body.querySelector(`tr[data-id="${CSS.escape(id)}"]`);

function level({ status }) {
  if (typeof status === "number") return status >= 500 ? "error" : status >= 400 ? "warn" : "ok";
  return status === "error" ? "error" : "ok";
}

function clock(seconds) {
  const date = new Date(seconds * 1000);
  const pad = (number, digits = 2) => String(number).padStart(digits, "0");
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
  const today = date.toDateString() === new Date().toDateString();
  return today ? time : `${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${time}`;
}

function statusOf(summary) {
  const { websocket } = summary;
  if (websocket) {
    const className = `status ${summary.status === "error" ? "error" : websocket.abnormal ? "warn" : websocket.live ? "ok" : "muted"}`;
    if (websocket.live) return element("span", { className }, `● ${websocket.state}`);
    const code = websocket.close_code;
    return code === null ? element("span", { className }, websocket.state) : element("span", { className }, element("span", { className: "word" }, `${websocket.state} `), String(code));
  }
  return summary.duration === null && summary.status === "ok"
    ? element("span", { className: "status muted", title: "running" }, "…")
    : element("span", { className: `status ${level(summary)}` }, String(summary.status));
}

const carried = (messages, bytes) => [count(messages), messages ? element("span", { className: "bytes" }, ` · ${size(bytes)}`) : ""];

function cells(summary) {
  const { counts, websocket } = summary;
  const name = element("a", { href: `${base}/t/${summary.trace_id}${websocket ? "?panel=websockets" : ""}` }, summary.name || summary.trace_id);
  const kind = summary.kind === "http" ? null : element("span", { className: "tag" }, summary.kind);
  const where = websocket && element("span", { className: "w-path muted" }, ` ${websocket.path} ${websocket.client}`);
  const late = summary.slow ? " warn" : "";
  const cell = (className, ...content) => element("td", { className }, ...content);
  return [
    cell("s", statusOf(summary)),
    cell("name", name, kind && " ", kind, where),
    cell(`num d${late}`, duration(summary.duration)),
    cell("num q", counts.queries ? count(counts.queries) : ""),
    cell("num n warn", String(counts.n_plus_one || "")),
    cell("num e error", String(counts.errors || "")),
    cell(`num a ${summary.level}`, counts.alerts ? `${summary.level === "error" ? "▲" : "■"} ${count(counts.alerts)}` : ""),
    cell("num p", count(counts.spans)),
    cell("num w", ...(websocket ? carried(websocket.received, websocket.bytes_received) : [])),
    cell("num w", ...(websocket ? carried(websocket.sent, websocket.bytes_sent) : [])),
    cell("num w r", websocket ? rate(websocket.rate) : ""),
    cell("num t", element("time", { dateTime: new Date(summary.start * 1000).toISOString() }, clock(summary.start))),
  ];
}

function fill(row, summary) {
  row.dataset.id = summary.trace_id;
  row.dataset.kind = summary.kind;
  row.dataset.status = summary.status;
  row.dataset.start = summary.start;
  row.toggleAttribute("data-live", summary.duration === null);
  const focused = row.contains(document.activeElement);
  row.replaceChildren(...cells(summary));
  if (focused) row.querySelector("a").focus();
  row.hidden = !matches(row);
}

/** Insert a row; unless that would move what is under the pointer or in focus. */
function put(summary) {
  const row = rowOf(summary.trace_id);
  if (row) {
    const live = "live" in row.dataset;
    fill(row, summary);
    if (sockets() && live && summary.duration !== null && !inUse()) place(row);
    return;
  }
  held.set(summary.trace_id, summary);
  if (!inUse()) flush();
  else announce();
}

const scroller = whole ? document.scrollingElement : table.parentElement;
const inUse = () => body.matches(":hover") || body.contains(document.activeElement) || scroller.scrollTop > 40;

function announce() {
  pill.textContent = `${held.size} new`;
  pill.hidden = held.size === 0;
}

function flush() {
  for (const summary of held.values()) {
    const row = element("tr", { className: "fresh" });
    fill(row, summary);
    if (summary.trace_id === page.trace) row.setAttribute("aria-current", "true");
    place(row);
  }
  held.clear();
  while (body.rows.length > most) body.lastElementChild.remove();
  announce();
  showEmpty();
}

/** By start: events of overlapping requests come in the order of their news. */
function place(row) {
  const rank = ({ dataset }) => [sockets() && "live" in dataset ? 1 : 0, Number(dataset.start ?? 0)];
  const [live, start] = rank(row);
  row.remove();
  const next = [...body.rows].find((other) => {
    const [otherLive, otherStart] = rank(other);
    return otherLive < live || (otherLive === live && otherStart <= start);
  });
  body.insertBefore(row, next ?? null);
}

const field = (id) => document.getElementById(id)?.value.toLowerCase() ?? "";

function matches(row) {
  const wanted = field("q");
  if (wanted && !`${row.textContent} ${row.dataset.id}`.toLowerCase().includes(wanted)) return false;
  if (field("kind") && row.dataset.kind !== field("kind")) return false;
  const status = field("status");
  return !status || row.dataset.status === status || (status.endsWith("xx") && /^\d/.test(row.dataset.status) && row.dataset.status[0] === status[0]);
}

function showEmpty() {
  const empty = document.getElementById("empty");
  if (!empty) return;
  const shown = [...body.rows].filter((row) => !row.hidden).length;
  empty.hidden = shown > 0;
  if (!shown && body.rows.length) {
    empty.replaceChildren(element("h2", {}, "Nothing matches"), element("p", {}, "Change the search or the filters."));
  }
}

function filter() {
  for (const row of body.rows) row.hidden = !matches(row);
  showEmpty();
}

/** The newest traces; of connections those that are open come first, however old. */
async function newest() {
  if (!sockets()) return (await api(`traces?limit=${most}`)).traces;
  const [open, all] = await Promise.all([api(`traces?limit=${most}&kind=websocket&running=true`), api(`traces?limit=${most}&kind=websocket`)]);
  const known = new Set(open.traces.map((summary) => summary.trace_id));
  return [...open.traces, ...all.traces.filter((summary) => !known.has(summary.trace_id))];
}

/** Turn the list into that of connections, or back. */
function changeKind() {
  const wanted = field("kind") === "websocket";
  if (wanted !== sockets()) {
    table.classList.toggle("sockets", wanted);
    document.querySelector("h1").textContent = wanted ? "Websocket connections" : "Requests";
    for (const row of [...body.rows].sort((a, b) => a.dataset.start - b.dataset.start)) place(row);
    sync();
  }
}

async function sync() {
  try {
    for (const summary of (await newest()).reverse()) put(summary);
  } catch {
    say("disconnected", "off");
  }
}

function walk(step) {
  const rows = [...body.rows].filter((row) => !row.hidden);
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[Math.max(0, Math.min(rows.length - 1, at + step))];
  next?.querySelector("a").focus();
}

async function togglePin() {
  const row = document.activeElement?.closest("#list tr[data-id]");
  if (!row) return false;
  const pinned = !("pinned" in row.dataset);
  await pin(row.dataset.id, pinned);
  if (pinned) row.dataset.pinned = "";
  else delete row.dataset.pinned;
  say(pinned ? "pinned" : "no longer pinned", "on");
  return true;
}

async function clear() {
  if (!confirm("Forget all traces but the pinned ones?")) return;
  await api("traces", "DELETE");
  held.clear();
  for (const row of [...body.rows]) if (!("pinned" in row.dataset)) row.remove();
  announce();
  location.assign(`${base}/`);
}

function setUpWholePage() {
  const search = document.getElementById("q");
  for (const id of ["q", "kind", "status"]) document.getElementById(id).addEventListener("input", filter);
  document.getElementById("kind").addEventListener("input", changeKind);
  search.form.addEventListener("submit", (event) => {
    event.preventDefault();
    walk(1);
  });
  document.getElementById("clear").addEventListener("click", clear);
  keys({
    "/": () => search.focus(),
    j: () => walk(1),
    k: () => walk(-1),
    p: togglePin,
    Escape: () => {
      search.value = "";
      filter();
      document.activeElement?.blur();
    },
  });
}

for (const row of body.rows) {
  row.dataset.start = Date.parse(row.querySelector("time").dateTime) / 1000 || 0;
}
pill.addEventListener("click", () => {
  flush();
  scroller.scrollTop = 0;
});
if (whole) setUpWholePage();
follow({
  onEvent: (summary) => {
    put(summary);
    dispatchEvent(new CustomEvent("toolbar:trace", { detail: summary }));
  },
  onOpen: () => {
    sync();
    dispatchEvent(new CustomEvent("toolbar:connected"));
  },
  onState: (state) => whole && say(state === "on" ? "live" : "disconnected, trying again", state),
});
