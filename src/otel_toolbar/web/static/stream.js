// Follow the server's events with one connection for all tabs, and none while hidden.
// Browsers allow six connections to an HTTP/1.1 server: a stream for each tab would hang the app.

import { base } from "./common.js";

const NAMES = ["trace.started", "trace.updated", "trace.ended"];

/** Calls `onEvent(summary)`, `onOpen()` after each (re)connection, `onState("on" | "off")`. */
export function follow({ onEvent, onOpen, onState }) {
  const channel = new BroadcastChannel(`otel-toolbar:${base}`);
  channel.onmessage = ({ data }) => onEvent(data);
  let stop = null;

  const start = () => {
    if (stop || document.hidden) return;
    onOpen();
    const leaving = new AbortController();
    stop = () => leaving.abort();
    lead(leaving.signal, (signal) => listen(signal, channel, { onEvent, onOpen, onState }));
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) return start();
    stop?.();
    stop = null;
  });
  addEventListener("pagehide", () => stop?.());
  start();
}

/** Run `work` in one tab at a time; without the Web Locks API (no https) in each visible one. */
async function lead(signal, work) {
  if (!navigator.locks) return work(signal);
  try {
    await navigator.locks.request(`otel-toolbar:${base}`, { signal }, () => work(signal));
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
}

function listen(signal, channel, { onEvent, onOpen, onState }) {
  return new Promise((resolve) => {
    let source, lost;
    const connect = () => {
      source = new EventSource(`${base}/api/stream`);
      for (const name of NAMES) source.addEventListener(name, receive);
      source.onopen = () => {
        clearTimeout(lost);
        onState("on");
        onOpen();
      };
      source.onerror = () => {
        // The server ends a stream by itself every 20 s; that alone is no news.
        clearTimeout(lost);
        lost = setTimeout(() => onState("off"), 2000);
        if (source.readyState === EventSource.CLOSED && !signal.aborted) setTimeout(connect, 3000);
      };
    };
    const receive = ({ data }) => {
      const summary = JSON.parse(data);
      onEvent(summary);
      channel.postMessage(summary);
    };
    signal.addEventListener("abort", () => {
      clearTimeout(lost);
      source.close();
      resolve();
    });
    connect();
  });
}
