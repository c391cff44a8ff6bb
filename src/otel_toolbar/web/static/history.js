// The list of traces: live, filtered, by keyboard. Beside a trace it is the same list, narrow.

import { api, base, count, duration, element, keys, page, pin, say } from "./common.js";
import { follow } from "./stream.js";

const whole = document.body.classList.contains("history");
const most = whole ? 200 : 50;
const slow = Number(page.slow) / 1000;
const table = document.getElementById("list");
const body = table.tBodies[0];
const pill = document.getElementById("new");
const held = new Map();
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

function cells(summary) {
  const { counts } = summary;
  const running = summary.duration === null;
  const status = running && summary.status === "ok"
    ? element("span", { className: "status muted", title: "running" }, "…")
    : element("span", { className: `status ${level(summary)}` }, String(summary.status));
  const name = element("a", { href: `${base}/t/${summary.trace_id}` }, summary.name || summary.trace_id);
  const kind = summary.kind === "http" ? null : element("span", { className: "tag" }, summary.kind);
  const late = !running && summary.duration >= slow ? " warn" : "";
  const cell = (className, ...content) => element("td", { className }, ...content);
  return [
    cell("s", status),
    cell("name", name, kind && " ", kind),
    cell(`num d${late}`, duration(summary.duration)),
    cell("num q", counts.queries ? count(counts.queries) : ""),
    cell("num n warn", String(counts.n_plus_one || "")),
    cell("num e error", String(counts.errors || "")),
    cell("num p", count(counts.spans)),
    cell("num t", element("time", { dateTime: new Date(summary.start * 1000).toISOString() }, clock(summary.start))),
  ];
}

function fill(row, summary) {
  row.dataset.id = summary.trace_id;
  row.dataset.kind = summary.kind;
  row.dataset.status = summary.status;
  const focused = row.contains(document.activeElement);
  row.replaceChildren(...cells(summary));
  if (focused) row.querySelector("a").focus();
  row.hidden = !matches(row);
}

/** Insert a row; unless that would move what is under the pointer or in focus. */
function put(summary) {
  const row = rowOf(summary.trace_id);
  if (row) return fill(row, summary);
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
    // By start: events of overlapping requests come in the order of their news.
    const next = [...body.rows].find((other) => Number(other.dataset.start ?? 0) <= summary.start);
    row.dataset.start = summary.start;
    body.insertBefore(row, next ?? null);
  }
  held.clear();
  while (body.rows.length > most) body.lastElementChild.remove();
  announce();
  showEmpty();
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

async function sync() {
  try {
    const { traces } = await api(`traces?limit=${most}`);
    for (const summary of traces.reverse()) put(summary);
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
  onEvent: put,
  onOpen: sync,
  onState: (state) => whole && say(state === "on" ? "live" : "disconnected, trying again", state),
});
