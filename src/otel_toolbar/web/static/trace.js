// A trace's page: tabs by keyboard, pin, and what moves while the trace still runs.

import { api, duration, keys, page, pin, say } from "./common.js";

const POLL = 1000;

function turn(step) {
  const tabs = [...document.querySelectorAll(".tabs a")];
  const at = tabs.findIndex((tab) => tab.hasAttribute("aria-current"));
  tabs[(at + step + tabs.length) % tabs.length]?.click();
}

function setUpPin() {
  const button = document.getElementById("pin");
  button.addEventListener("click", async () => {
    const pinned = button.getAttribute("aria-pressed") !== "true";
    try {
      await pin(page.trace, pinned);
      button.setAttribute("aria-pressed", pinned);
    } catch (error) {
      say(`not pinned: ${error.message}`, "off");
    }
  });
}

/** Ask again while the trace runs and is looked at; a panel made by the server is loaded anew. */
function follow(shown) {
  const timer = setInterval(async () => {
    if (document.hidden) return;
    try {
      const view = await api(`traces/${page.trace}/panels/trace`);
      say(view.running ? `running, ${duration(view.duration)}` : "", view.running ? "on" : "");
      shown?.update(view);
      if (view.running) return;
      clearInterval(timer);
      location.reload();
    } catch (error) {
      say(`disconnected: ${error.message}`, "off");
    }
  }, POLL);
}

/** A link into a folded part opens it, also in browsers that do not do so themselves. */
function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const folded = target && target.closest("details");
  if (folded) {
    folded.open = true;
    target.scrollIntoView({ block: "nearest" });
  }
}

async function start() {
  keys({ "[": () => turn(-1), "]": () => turn(1) });
  setUpPin();
  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  addEventListener("hashchange", openTarget);
  openTarget();
  if (page.panel === "websockets" && document.getElementById("socket")) {
    const { open } = await import("./websockets.js");
    return open(); // it keeps itself up to date
  }
  let shown = null;
  if (document.getElementById("waterfall")) shown = await (await import("./waterfall.js")).open();
  if (document.getElementById("lanes")) shown = await (await import("./tasks.js")).open();
  if (page.panel === "jobs") await import("./jobs.js");
  if (page.panel === "queries" && document.getElementById("filter")) (await import("./queries.js")).open();
  if ("running" in page) follow(shown);
}

start();
