// All that is known of one span, beside the waterfall. inspector.html is the same without JavaScript.

import { api, base, duration, element, page } from "./common.js";

const root = document.getElementById("inspector");
let wanted = "";

export const isOpen = () => !root.hidden;

export function close() {
  root.hidden = true;
  wanted = "";
  remember("");
}

export async function show(id) {
  wanted = id;
  remember(id);
  let content;
  try {
    content = build(await api(`traces/${page.trace}/spans/${id}`));
  } catch (error) {
    content = [head("Details"), element("p", { className: "callout error" }, `They could not be loaded: ${error.message}`)];
  }
  // Only the latest of several quick requests counts.
  if (wanted === id) fill(content);
}

/** Details that a panel has made itself. */
export function present(id, title, ...content) {
  wanted = id;
  remember(id);
  fill([head(title), ...content.filter(Boolean)]);
}

function fill(content) {
  root.replaceChildren(...content);
  root.hidden = false;
}

/** So that reload and the address lead back to the span. */
function remember(id) {
  const url = new URL(location.href);
  if (id) url.searchParams.set("span", id);
  else url.searchParams.delete("span");
  history.replaceState(null, "", url);
}

function head(title) {
  const button = element("button", { type: "button", className: "quiet", onclick: close }, "Close");
  return element("div", { className: "inspector-head" }, element("h2", {}, title), button);
}

export function place({ path, line, function: name, link }) {
  const short = path.split(/[\\/]/).slice(-2).join("/") + (line ? `:${line}` : "");
  const where = link
    ? element("a", { className: "place", href: link, title: `Open ${path}:${line ?? ""} in the editor` }, short)
    : element("span", { className: "place", title: path }, short);
  return element("span", {}, path ? where : "", " ", element("span", { className: "muted mono" }, name));
}

export function facts(pairs) {
  const rows = pairs
    .filter(([, value]) => value)
    .map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  return element("dl", { className: "facts" }, ...rows);
}

function table(fields, caption) {
  const rows = fields.map(({ name, value }) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)),
  );
  return element("table", { className: "fields" }, element("caption", { className: "sr" }, caption), element("tbody", {}, ...rows));
}

export const title = (text, note) => element("h3", {}, text, " ", note ? element("span", { className: "muted" }, note) : "");

function build(span) {
  const parts = [head(span.name)];
  if (span.error) {
    parts.push(element("p", { className: "callout error" }, element("span", { className: "mark error", "aria-hidden": "true" }, "▲ "), span.error));
  }
  parts.push(
    facts([
      ["Duration", duration(span.duration) + (span.running ? ", running" : "")],
      ["Self time", duration(span.self_time)],
      ["Starts after", duration(span.start)],
      ["Kind", span.kind],
      ["Service", span.service],
      ["Made by", span.scope],
      ["Code", span.place && place(span.place)],
      ["Span id", element("span", { className: "mono" }, span.id)],
    ]),
  );
  if (span.attributes.length) parts.push(title("Attributes"), table(span.attributes, "Attributes"));
  for (const event of span.events) {
    parts.push(title(`Event ${event.name}`, `at ${duration(event.at)}`), table(event.attributes, "Attributes of the event"));
  }
  if (span.links.length) parts.push(title("Links"), links(span.links));
  if (span.resource.length) {
    parts.push(element("details", {}, element("summary", {}, "Resource"), table(span.resource, "Resource")));
  }
  if (span.dropped) {
    parts.push(element("p", { className: "muted" }, `${span.dropped} attributes, events or links were not kept.`));
  }
  return parts;
}

function links(pairs) {
  const items = pairs.map(([trace, span]) =>
    element("li", {}, element("a", { className: "mono", href: `${base}/t/${trace}?span=${span}` }, trace)),
  );
  return element("ul", { className: "plain" }, ...items);
}
