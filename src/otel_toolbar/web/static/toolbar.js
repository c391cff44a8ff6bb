// The toolbar in a page of the app: a badge, and a drawer with the trace's page in a frame.
// It stands in a shadow tree in the top layer, so that neither side's styles reach the other, and
// uses no innerHTML, eval or inline style, so that it works under the page's own policy.
// From its tag: data-trace, data-base; optional data-blocked ("connect frame":
// what the page's policy forbids, so that not even an attempt is made).

(() => {
  "use strict";
  const NAME = "__otelToolbar";
  const tag = document.currentScript;
  if (!tag || window !== window.top) return;
  if (window[NAME]) {
    // A page that swaps its body runs its scripts again.
    window[NAME].page(tag.dataset.trace);
    return;
  }

  const { base } = tag.dataset;
  const forbidden = new Set((tag.dataset.blocked ?? "").split(" "));
  const FETCHED = new Set(["fetch", "xmlhttprequest", "beacon", "iframe"]);
  const CORNERS = ["bottom right", "bottom left", "top left", "top right"];
  const LEAST = 160;

  const style = `
:host {
  all: initial !important; position: fixed !important; inset: 0 !important; margin: 0 !important; padding: 0 !important;
  border: 0 !important; width: auto !important; height: auto !important; max-width: none !important; max-height: none !important;
  display: block !important; visibility: visible !important; opacity: 1 !important; transform: none !important; filter: none !important;
  clip-path: none !important; overflow: visible !important; background: none !important; pointer-events: none !important;
  z-index: 2147483647 !important; color-scheme: light dark !important;
  font: 500 13px/1.4 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif !important;
  --page: light-dark(#ffffff, #16181d); --text: light-dark(#1b1f24, #e8eaed); --muted: light-dark(#57606a, #9aa4b0);
  --line: light-dark(#d8dee4, #343942); --selected: light-dark(#ddebff, #1e2d45);
  --ok: light-dark(#116329, #4ac26b); --warn: light-dark(#7d4e00, #e3b341); --bad: light-dark(#b3211b, #ff8a80);
  --link: light-dark(#0b57d0, #8ab4f8);
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
.bar, .drawer { pointer-events: auto; color: var(--text); font-variant-numeric: tabular-nums; }
.bar { position: fixed; display: flex; inset: auto 8px 8px auto; box-shadow: 0 2px 10px #0004; border-radius: 8px; }
.bar[data-corner$="left"] { inset: auto auto 8px 8px; }
.bar[data-corner="top left"] { inset: 8px auto auto 8px; }
.bar[data-corner="top right"] { inset: 8px 8px auto auto; }
/* Growing to the left is no shift of the page's layout where lines begin at the right. */
.bar[data-corner$="right"], .bar[data-corner$="right"] .badge { direction: rtl; flex-direction: row-reverse; }
.bar[data-corner$="right"] span, .bar[data-corner$="right"] a { direction: ltr; }
.bar[data-open] { top: auto; bottom: calc(var(--height) + 8px); }
button, a { font: inherit; color: inherit; background: var(--page); border: 1px solid var(--line); cursor: pointer; text-decoration: none; }
button:hover, a:hover { background: var(--selected); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 1px; }
.badge, .full { height: 28px; padding: 0 10px; display: inline-flex; gap: 8px; align-items: center; white-space: nowrap; }
.badge { border-radius: 8px 0 0 8px; }
.full { border-radius: 0 8px 8px 0; border-inline-start: 0; }
.mark { color: var(--ok); font-size: 11px; }
[data-level="warn"] :is(.mark, .alerts) { color: var(--warn); }
[data-level="error"] :is(.mark, .alerts) { color: var(--bad); }
.alerts { font-weight: 700; }
.quiet { color: var(--muted); font-weight: 400; }
.drawer { position: fixed; inset: auto 0 0 0; height: var(--height); display: grid; grid-template: auto minmax(0, 1fr) / auto minmax(0, 1fr); background: var(--page); border-top: 1px solid var(--line); box-shadow: 0 -6px 24px #0003; }
.grip { position: absolute; inset: -5px 0 auto 0; height: 10px; cursor: ns-resize; touch-action: none; }
.head { grid-column: 1 / -1; display: flex; gap: 4px; align-items: center; padding: 2px 6px; border-bottom: 1px solid var(--line); }
.head b { flex: 1; padding-inline-start: 6px; font-weight: 600; }
.head button, .head a { border-color: transparent; border-radius: 6px; padding: 1px 8px; font-size: 12px; }
.list { margin: 0; padding: 0; width: 240px; overflow-y: auto; list-style: none; border-inline-end: 1px solid var(--line); }
.list button { width: 100%; height: 26px; display: flex; gap: 8px; align-items: center; border: 0; text-align: start; font-size: 12px; }
.list button[aria-current="true"] { background: var(--selected); }
.list .path { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
iframe { grid-column: 2; width: 100%; height: 100%; border: 0; background: var(--page); color-scheme: light dark; }
.sr { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (max-width: 640px) {
  .drawer { grid-template: auto auto minmax(0, 1fr) / minmax(0, 1fr); }
  .list { width: auto; max-height: 80px; border: 0; border-bottom: 1px solid var(--line); }
  iframe { grid-column: 1; }
}
@media (forced-colors: active) { .list button[aria-current="true"] { outline: 2px solid Highlight; outline-offset: -2px; } }
@media print { :host { display: none !important; } }`;

  const make = (name, properties, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (key in element) element[key] = value;
      else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };

  const remembered = (key, fallback) => {
    try {
      return localStorage.getItem(`otel-toolbar.${key}`) ?? fallback;
    } catch {
      return fallback; // a sandboxed page has no storage
    }
  };
  const remember = (key, value) => {
    try {
      localStorage.setItem(`otel-toolbar.${key}`, value);
    } catch {
      // then it is forgotten
    }
  };

  const time = (ms) => (ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : 2)} ms`);

  /** The trace id in an entry's Server-Timing, if it has one. */
  const traceOf = (entry) => {
    const line = (entry?.serverTiming ?? []).find((metric) => metric.name === "traceparent");
    return /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(line?.description ?? "")?.[1];
  };

  // What there is to show: the page itself first, then what it fetched.
  const requests = [];
  let current = null;

  const first = (trace) => ({ trace, path: location.pathname, ms: null, summary: null });
  // A page out of the browser's cache bears the trace of its first delivery: headers know better.
  const [navigation] = performance.getEntriesByType?.("navigation") ?? [];
  requests.push(first(traceOf(navigation) ?? tag.dataset.trace));
  [current] = requests;
  const url = (request) => `${base}/t/${request.trace}`;

  // The badge

  const badge = make("button", {
    type: "button", className: "badge", ariaExpanded: "false", ariaKeyShortcuts: "Alt+Shift+D", onclick: () => toggle(),
  });
  const full = make("a", { className: "full", target: "_blank", rel: "noopener", ariaLabel: "Open the trace in a new tab" }, "↗");
  const news = make("span", { className: "sr", role: "status" });
  const bar = make("section", { className: "bar", ariaLabel: "Debug toolbar" }, badge, full, news);

  const MARKS = { ok: "●", warn: "■", error: "▲" };

  /** The worst alerts by name. */
  const named = ({ alerts, counts }) => alerts.join(", ") + (counts.alerts > alerts.length ? ` and ${counts.alerts - alerts.length} more` : "");

  function render() {
    const [{ summary }] = requests;
    const later = requests.length - 1;
    const level = summary?.level ?? "ok";
    const alerts = summary?.counts.alerts;
    bar.dataset.level = level;
    badge.title = alerts ? named(summary) : "";
    const duration = !summary ? "trace" : summary.duration === null ? "running" : time(summary.duration * 1000);
    // Class, what is seen, and what screen readers add to it.
    const parts = [
      ["sr", "Debug toolbar: "],
      ["mark", MARKS[level]],
      ["", duration],
      ["quiet", summary?.counts.queries && `${summary.counts.queries} q`, " (queries)"],
      ["alerts", alerts && `${MARKS[level]} ${alerts}`, alerts && ` ${alerts === 1 ? "alert" : "alerts"}: ${named(summary)}`],
      ["quiet", later && `+${later}`, " later requests"],
    ];
    // Fresh elements: moved ones would count as a layout shift of the page.
    badge.replaceChildren(...parts.filter(([, text]) => text).map(([className, text, more]) => (
      make("span", { className, ariaHidden: className === "mark" ? "true" : null }, text, make("span", { className: "sr" }, more ?? ""))
    )));
    full.href = url(current);
    renderList();
  }

  /** The page's own numbers: one request, when the page has settled. */
  async function load() {
    const [request] = requests;
    if (!request.trace || forbidden.has("connect")) return;
    try {
      const answer = await fetch(`${base}/api/traces/${request.trace}`, { priority: "low" });
      if (answer.ok) request.summary = await answer.json();
    } catch {
      // Without numbers the badge still leads to the trace.
    }
    render();
  }

  // The drawer

  let drawer = null, frame = null, list = null, isOpen = false;
  const size = () => Math.max(LEAST, Math.min(innerHeight - 60, Number(remembered("height", 360))));

  function buildDrawer() {
    const grip = make("div", {
      className: "grip", role: "separator", tabIndex: 0, ariaOrientation: "horizontal", ariaLabel: "Height of the debug panels",
      ariaValueMin: String(LEAST), onpointerdown: drag, onkeydown: resizeByKey,
    });
    list = make("ul", { className: "list", ariaLabel: "Requests of this page" });
    const button = (label, onclick) => make("button", { type: "button", onclick }, label);
    const head = make("div", { className: "head" }, make("b", {}, "Debug panels"), button("Move badge", move), button("Close", () => toggle(false)));
    frame = make("iframe", { title: "Debug panels", src: `${url(current)}?embed=1` });
    drawer = make("section", { className: "drawer", id: "drawer", ariaLabel: "Debug panels" }, grip, head, list, frame);
    bar.before(drawer);
    badge.setAttribute("aria-controls", "drawer");
    resize(size());
    render();
  }

  function renderList() {
    if (!list) return;
    list.hidden = requests.length < 2;
    list.replaceChildren(...requests.map((request) => {
      const ms = request.summary?.duration ? request.summary.duration * 1000 : request.ms;
      const button = make(
        "button",
        { type: "button", title: request.path, onclick: () => show(request) },
        make("span", { className: "path" }, request.path),
        make("span", { className: "quiet" }, ms === null ? "" : time(ms)),
      );
      button.setAttribute("aria-current", request === current);
      return make("li", {}, button);
    }));
  }

  function show(request) {
    current = request;
    // replace(): looking at requests must not fill the page's history.
    if (frame) frame.contentWindow.location.replace(`${url(request)}?embed=1`);
    render();
  }

  function toggle(open = !isOpen) {
    // Beside an open modal dialog the drawer could not be used.
    const modal = document.querySelector("dialog:modal");
    if (open && (forbidden.has("frame") || modal)) return openTab();
    isOpen = open;
    if (open && !drawer) buildDrawer();
    if (drawer) drawer.hidden = !open;
    badge.ariaExpanded = String(open);
    bar.toggleAttribute("data-open", open);
    remember("open", open ? "1" : "");
    if (open) frame.focus();
    else badge.focus({ preventScroll: true });
    if (open && requests[0].summary?.duration === null) load();
  }

  const openTab = () => window.open(url(current), "_blank", "noopener");

  function frameForbidden() {
    forbidden.add("frame");
    drawer.remove();
    drawer = list = frame = null;
    isOpen = false;
    badge.ariaExpanded = "false";
    bar.removeAttribute("data-open");
    remember("open", "");
    news.textContent = "This page forbids frames: the trace opens in a new tab.";
    openTab();
  }

  function resize(height) {
    const held = Math.max(LEAST, Math.min(innerHeight - 60, height));
    host.style.setProperty("--height", `${held}px`);
    const grip = drawer.firstChild;
    grip.ariaValueNow = String(Math.round(held));
    grip.ariaValueMax = String(innerHeight - 60);
    remember("height", Math.round(held));
  }

  function drag(event) {
    const grip = event.currentTarget;
    const follow = (move) => resize(innerHeight - move.clientY);
    grip.setPointerCapture(event.pointerId);
    grip.addEventListener("pointermove", follow);
    grip.addEventListener("lostpointercapture", () => grip.removeEventListener("pointermove", follow), { once: true });
  }

  function resizeByKey(event) {
    const step = { ArrowUp: 24, ArrowDown: -24, PageUp: 120, PageDown: -120, Home: -9999, End: 9999 }[event.key];
    if (!step) return;
    event.preventDefault();
    resize(drawer.offsetHeight + step);
  }

  function move() {
    const next = CORNERS[(CORNERS.indexOf(bar.dataset.corner) + 1) % CORNERS.length];
    bar.dataset.corner = next;
    remember("corner", next);
    news.textContent = `The badge is at the ${next}.`;
  }

  // What comes later

  /** Requests of the page are found in the browser's own records: nothing of the page is patched. */
  function seen(entry) {
    const trace = traceOf(entry);
    if (!trace || !FETCHED.has(entry.initiatorType) || requests.some((request) => request.trace === trace)) return;
    const { pathname, search } = new URL(entry.name, location.href);
    requests.push({ trace, path: pathname + search, ms: entry.duration, summary: null });
    render();
  }

  function watch() {
    try {
      new PerformanceObserver((found) => found.getEntries().forEach(seen)).observe({ type: "resource", buffered: true });
    } catch {
      // an old browser shows the page alone
    }
    document.addEventListener("securitypolicyviolation", (event) => {
      const ours = event.blockedURI.includes(base) && /^(frame|child|default)-src/.test(event.effectiveDirective);
      if (ours && drawer) frameForbidden();
    });
    addEventListener("message", (event) => {
      if (!frame || event.source !== frame.contentWindow) return;
      if (event.data === "otel-toolbar:close") toggle(false);
      if (event.data === "otel-toolbar:toggle") toggle();
    });
    addEventListener("keydown", (event) => {
      if (event.altKey && event.shiftKey && event.code === "KeyD") {
        event.preventDefault();
        toggle();
      } else if (event.key === "Escape" && isOpen && event.composedPath().includes(host)) toggle(false);
    }, true);
  }

  // Into the page

  const host = document.createElement("otel-toolbar");
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(style);
  root.adoptedStyleSheets = [sheet];
  root.append(bar);
  host.popover = "manual";
  bar.dataset.corner = remembered("corner", CORNERS[0]);

  function mount() {
    if (host.isConnected) return;
    document.documentElement.append(host);
    host.showPopover?.();
  }

  window[NAME] = {
    page(trace) {
      requests.length = 0;
      requests.push(first(trace));
      show(requests[0]);
      load();
    },
  };

  mount();
  render();
  watch();
  // Some pages replace everything in the document.
  new MutationObserver(mount).observe(document.documentElement, { childList: true });
  const settled = () => setTimeout(load, 50);
  // By then the whole page was sent, so the request has ended, streamed pages included.
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", settled, { once: true });
  else settled();
  if (remembered("open", "")) toggle(true);
})();
