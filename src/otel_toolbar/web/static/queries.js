// The list of queries: filtered while typing, and a query's details when it is opened. The server makes
// all of it; without this script the form and the links lead to the same.

import { keys, page } from "./common.js";

const PAUSE = 150;
let latest = 0;

export function open() {
  addEventListener("input", onInput);
  document.addEventListener("toggle", onToggle, true);
  document.querySelector(".panel").addEventListener("click", onClick);
  document.addEventListener("submit", onSubmit);
  keys({
    "/": () => field().focus(),
    j: () => step(1),
    k: () => step(-1),
    ArrowDown: () => inList() && step(1),
    ArrowUp: () => inList() && step(-1),
    Escape: clear,
  });
}

const field = () => document.getElementById("find");
const list = () => document.getElementById("listing");
const inList = () => Boolean(document.activeElement?.closest("#queries summary"));

/** A page of ours as a document. A request may parse one; a parser of its own the policy forbids. */
function load(url) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.onload = () => (request.status === 200 && request.response ? resolve(request.response) : reject(new Error(String(request.status))));
    request.onerror = () => reject(new Error("no answer"));
    request.send();
  });
}

/** Put the list that `url` shows in the place of the one here. */
async function show(url) {
  const mine = ++latest;
  let fresh;
  try {
    fresh = (await load(url)).getElementById("listing");
  } catch {
    location.assign(url); // the page that says why
    return;
  }
  if (mine !== latest || !fresh) return;
  const typed = field();
  const typing = document.activeElement === typed;
  // What is typed stays, with the caret where it is.
  fresh.querySelector("#find").replaceWith(typed);
  const chosen = document.activeElement?.name;
  list().replaceWith(fresh);
  if (typing) typed.focus();
  else if (chosen) fresh.querySelector(`[name="${chosen}"]`)?.focus();
  history.replaceState(null, "", url);
}

function address() {
  const url = new URL(location.href);
  url.search = new URLSearchParams([...new FormData(document.getElementById("filter"))].filter(([, value]) => value));
  url.hash = "";
  return url;
}

let timer = 0;
function onInput(event) {
  if (!event.target.closest?.("#filter")) return;
  clearTimeout(timer);
  timer = setTimeout(() => show(address()), event.target === field() ? PAUSE : 0);
}

function onSubmit(event) {
  if (event.target.id !== "filter") return;
  event.preventDefault();
  show(address());
}

/** Links that lead to another part of the list change the list alone. */
async function onClick(event) {
  const link = event.target.closest("a[href]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href);
  if (url.pathname !== location.pathname || url.searchParams.get("panel") !== page.panel || !url.hash) return;
  event.preventDefault();
  field().value = url.searchParams.get("q") ?? "";
  await show(url);
  const target = document.querySelector(url.hash) ?? list();
  target.scrollIntoView({ block: target === list() ? "start" : "nearest" });
  (target.querySelector("summary") ?? field()).focus({ preventScroll: true });
}

async function onToggle(event) {
  const details = event.target;
  if (!details.open || !details.dataset?.show || details.querySelector("div.query")) return;
  const link = details.querySelector(".query a");
  try {
    const found = (await load(link.href)).querySelector(`[data-show="${details.dataset.show}"] div.query`);
    if (!found) throw new Error("not found");
    details.querySelector(".query").replaceWith(found);
  } catch (error) {
    details.querySelector(".query").textContent = `It could not be loaded (${error.message}): the trace is no longer kept, or the app does not answer.`;
  }
}

function step(by) {
  const rows = [...document.querySelectorAll("#queries summary")];
  const at = rows.indexOf(document.activeElement);
  const row = rows[Math.max(0, Math.min(rows.length - 1, at + by))];
  row?.focus();
  row?.scrollIntoView({ block: "nearest" });
}

function clear() {
  if (document.activeElement !== field() || !field().value) return false;
  field().value = "";
  show(address());
  return true;
}
