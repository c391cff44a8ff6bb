// What all pages of the toolbar share. No innerHTML, no eval: the pages' policy forbids both.

export const page = document.body.dataset;
export const base = page.base;

/** An element with properties, attributes (names with a dash, and role) and listeners (on...). */
export function element(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** A duration in s, as the server writes it too. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "running";
  if (seconds >= 60) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  const thousandths = seconds * 1000;
  return `${thousandths.toFixed(thousandths >= 100 ? 0 : thousandths >= 10 ? 1 : 2)} ms`;
}

/** Bytes, as the server writes them too. */
export function size(bytes) {
  if (Math.abs(bytes) < 1000) return `${bytes} B`;
  let amount = bytes / 1024;
  let unit = "KiB";
  for (const larger of ["MiB", "GiB", "TiB"]) {
    if (Math.abs(amount) < 1000) break;
    amount /= 1024;
    unit = larger;
  }
  return `${amount.toFixed(1)} ${unit}`;
}

/** Events a second. */
export const rate = (number) => `${number.toFixed(1)}/s`;

export const count = (number) => number.toLocaleString("en");

/** JSON of the toolbar's API; what changes something bears the page's token. An error says why. */
export async function api(path, method = "GET", body = undefined) {
  const headers = method === "GET" ? {} : { "X-Toolbar-CSRF": page.csrf };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(`${base}/api/${path}`, { method, headers, body: body && JSON.stringify(body) });
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const reason = await answer.json().catch(() => null);
  throw new Error(reason?.error?.message ?? `${answer.status} ${answer.statusText}`);
}

/** Pin or unpin a trace. */
export const pin = (id, pinned) => api(`traces/${id}/pin`, pinned ? "POST" : "DELETE");

/** Say something short where screen readers hear it too. */
export function say(text, state = "") {
  const live = document.getElementById("live");
  if (!live) return;
  live.textContent = text;
  live.className = `live needs-js ${state}`;
}

const typing = (target) => target instanceof Element && target.closest("input, select, textarea, dialog");

/** Call `handlers[key]` for a key pressed outside of fields, without modifiers. */
export function keys(handlers) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (typing(event.target) && event.key !== "Escape") return;
    const handler = handlers[event.key];
    if (handler && handler(event) !== false) event.preventDefault();
  });
}

function setUpHelp() {
  const help = document.getElementById("help");
  document.getElementById("help-open")?.addEventListener("click", () => help.showModal());
  keys({ "?": () => help.showModal() });
}

function setUpCopying() {
  addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = label), 1200);
  });
}

/** Inside the drawer, keys for the toolbar belong to the page around it. */
function setUpDrawer() {
  if (window.parent === window) return;
  const tell = (what) => window.parent.postMessage(`otel-toolbar:${what}`, location.origin);
  addEventListener("keydown", (event) => {
    if (event.altKey && event.shiftKey && event.code === "KeyD") tell("toggle");
    else if (event.key === "Escape" && !event.defaultPrevented) tell("close");
  });
  // Looking around in the drawer must not fill the history of the page around it.
  addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || link.target || link.download || link.origin !== location.origin || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    location.replace(link.href);
  });
}

document.documentElement.classList.add("js");
setUpHelp();
setUpCopying();
// Last, so that a page's own use of Escape comes first.
queueMicrotask(setUpDrawer);
