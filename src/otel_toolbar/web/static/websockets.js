// The websockets panel: the messages of a connection and its figures, up to date while it is open.

import { api, base, count, duration, page, rate, say, size } from "./common.js";
import { Messages } from "./messages.js";

const PAUSE = 500; // ms between two looks at a connection in which much goes on
const POLL = 1000; // in the drawer, which has no event stream
const SVG = "http://www.w3.org/2000/svg";

const dash = (form) => (value) => (value === null || value === undefined ? "–" : form(value));
const FORMS = { count: dash((value) => count(value)), size: dash((value) => size(Math.round(value))), rate: dash(rate), time: dash(duration), duration: dash(duration) };

export async function open() {
  const panel = new Panel(document.getElementById("socket"));
  await panel.refresh();
  if (panel.running) panel.stayLive();
}

class Panel {
  constructor(root) {
    this.root = root;
    this.id = root.dataset.connection;
    this.running = "running" in page;
    this.messages = new Messages(document.getElementById("messages"), this.running);
    document.getElementById("client").addEventListener("click", (event) => copyClient(event.target));
  }

  async refresh() {
    if (this.busy) return;
    this.busy = true;
    try {
      this.take(await api(`traces/${page.trace}/panels/websockets`));
    } catch (error) {
      say(`disconnected: ${error.message}`, "off");
    } finally {
      this.busy = false;
    }
  }

  take(view) {
    const connection = view.connections.find((each) => each.id === this.id) ?? view.connections[0];
    if (!connection) return;
    const state = `${connection.state} ${connection.timeline.length} ${connection.kept < connection.total}`;
    const changed = this.state !== undefined && this.state !== state;
    this.state = state;
    this.running = this.messages.live = connection.running;
    this.offset = view.now - Date.now() / 1000;
    this.connection = connection;
    this.fill();
    this.messages.load(connection.messages);
    drawRates(document.getElementById("rates"), connection.rates);
    say(connection.running ? "live" : "", connection.running ? "on" : "");
    if (changed) this.renew();
  }

  fill() {
    for (const place of this.root.querySelectorAll("[data-value]")) {
      const value = place.dataset.value.split(".").reduce((part, name) => part?.[name], this.connection);
      const text = FORMS[place.dataset.form](value);
      if (place.textContent !== text) place.textContent = text;
    }
  }

  /** The clock goes on also where nothing is said. */
  tick() {
    if (!this.connection?.running) return;
    this.connection.duration = Date.now() / 1000 + this.offset - this.connection.start;
    this.fill();
  }

  stayLive() {
    const soon = () => {
      if (this.timer || document.hidden) return;
      this.timer = setTimeout(() => {
        this.timer = 0;
        this.refresh();
      }, Math.max(0, PAUSE - (Date.now() - (this.last ?? 0))));
      this.last = Date.now();
    };
    // The list beside the trace follows the server's events for all who want to know.
    addEventListener("toolbar:trace", ({ detail }) => detail.trace_id === page.trace && soon());
    addEventListener("toolbar:connected", soon);
    document.addEventListener("visibilitychange", soon);
    const clock = setInterval(() => {
      if (document.hidden) return;
      if (!this.running) return clearInterval(clock);
      this.tick();
      if (document.body.classList.contains("embed")) this.refresh();
    }, POLL);
  }

  /** What the server renders anew when the state has changed: key figures, tabs, states, notes. */
  renew() {
    const request = new XMLHttpRequest();
    request.open("GET", location.href);
    // Parsed by the browser as inert markup: the page's policy allows no other way.
    request.responseType = "document";
    request.onload = () => {
      for (const part of [".strip-main", ".tabs", "#socket-state", "#kept", ".socket-first > .figures"]) {
        const [old, fresh] = [document.querySelector(part), request.response?.querySelector(part)];
        if (old && fresh && !old.contains(document.activeElement)) old.replaceWith(document.importNode(fresh, true));
      }
      this.fill();
    };
    request.send();
  }
}

async function copyClient(button) {
  const label = button.textContent;
  try {
    const answer = await fetch(`${base}/api/traces/${page.trace}/export?format=websockets-client`);
    if (!answer.ok) throw new Error(answer.statusText);
    await navigator.clipboard.writeText(await answer.text());
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => (button.textContent = label), 1200);
}

function drawRates(root, rates) {
  if (!rates.length) return;
  const most = Math.max(...rates.map((bucket) => bucket.received + bucket.sent)) || 1;
  const width = 100 / rates.length;
  const svg = document.createElementNS(SVG, "svg");
  const attributes = { class: "rates", width: "100%", height: 64, role: "img", "aria-label": `Messages a second, at most ${rate(most)}` };
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
  const bar = (name, place, height, y) => {
    const rect = document.createElementNS(SVG, "rect");
    rect.setAttribute("class", name);
    rect.setAttribute("x", `${(place * width).toFixed(3)}%`);
    rect.setAttribute("width", `${(width * 0.8).toFixed(3)}%`);
    rect.setAttribute("y", (64 - y - height).toFixed(2));
    rect.setAttribute("height", height.toFixed(2));
    svg.append(rect);
  };
  for (const [place, { received, sent }] of rates.entries()) {
    const low = (64 * received) / most;
    bar("in", place, low, 0);
    bar("out", place, (64 * sent) / most, low);
  }
  root.replaceChildren(svg);
}
