// EXPLAIN on demand: a button[data-explain] asks, and the element .plan after it takes the answer.

import { api, count, duration, element, page } from "./common.js";

const WAIT = 150;
const SHAPES = { warn: "■", info: "○", ok: "●" };

addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-explain]");
  if (button) toggle(button);
});

function toggle(button) {
  const room = roomOf(button);
  if (!room) return;
  const open = room.hidden;
  room.hidden = !open;
  button.setAttribute("aria-expanded", open);
  // A refusal may be over by now; a plan stays until it is asked for anew.
  if (open && room.dataset.state !== "done") ask(button.dataset.explain, room);
}

/** The nearest .plan that follows, within the query's row. */
function roomOf(button) {
  for (let at = button; at && !at.matches("li, tr"); at = at.parentElement) {
    for (let next = at.nextElementSibling; next; next = next.nextElementSibling) {
      if (next.matches(".plan")) return next;
    }
  }
  return null;
}

async function ask(span, room, analyze = false) {
  room.dataset.state = "asking";
  room.setAttribute("aria-busy", "true");
  room.setAttribute("aria-live", "polite");
  const patience = setTimeout(() => room.replaceChildren(element("p", { className: "muted" }, "Asking the database …")), WAIT);
  try {
    const plan = await api(`traces/${page.trace}/queries/${span}/explain`, "POST", { analyze });
    room.dataset.state = "done";
    room.replaceChildren(...content(plan, () => ask(span, room, !plan.analyzed), () => ask(span, room, plan.analyzed)));
  } catch (error) {
    room.dataset.state = "refused";
    const again = element("button", { type: "button", className: "quiet", onclick: () => ask(span, room, analyze) }, "Ask again");
    room.replaceChildren(element("p", { className: "callout error" }, mark("error", "▲"), ` Not explained: ${error.message} `), again);
  } finally {
    clearTimeout(patience);
    room.removeAttribute("aria-busy");
  }
}

function content(plan, turn, again) {
  return [
    head(plan),
    ...plan.hints.map(hint),
    tree(plan),
    element(
      "p",
      { className: "actions" },
      element("button", { type: "button", className: "quiet", onclick: again }, "Ask again"),
      plan.may_analyze
        ? element(
            "button",
            { type: "button", className: "quiet", onclick: turn, title: "Runs the query in a read-only transaction, to measure it" },
            plan.analyzed ? "Estimate only" : "Run and measure (ANALYZE)",
          )
        : null,
    ),
    element("details", { className: "plan-raw" }, element("summary", {}, "What the database said"), element("pre", { className: "raw", tabIndex: 0 }, plan.raw)),
  ];
}

function head(plan) {
  const facts = [
    plan.duration === null ? null : duration(plan.duration),
    plan.cost === null ? null : `cost ${figure(plan.cost)}`,
    plan.analyzed ? "measured: the query was run" : "estimated: the query was not run",
  ];
  const about = element("span", { className: "muted" }, facts.filter(Boolean).join(", "));
  return element("h3", {}, `Plan of ${plan.system} ${plan.version} `, about);
}

const mark = (level, shape) => element("span", { className: `mark ${level}`, "aria-hidden": "true" }, shape);

function hint({ level, title, evidence, fix, code, link }) {
  const rows = evidence.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  return element(
    "article",
    { className: `finding ${level}` },
    element("h4", {}, mark(level, SHAPES[level]), " ", element("span", { className: "sr" }, `${level}: `), ...prose(title)),
    element("dl", { className: "facts" }, ...rows),
    element("p", {}, ...prose(fix), " ", link && element("a", { href: link.url, target: "_blank", rel: "noopener noreferrer" }, link.title)),
    ...code.map(([language, text]) =>
      element(
        "p",
        { className: "code-line" },
        element("span", { className: "muted" }, language),
        element("code", {}, text),
        element("button", { type: "button", className: "quiet", "data-copy": text }, "Copy"),
      ),
    ),
  );
}

/** What stands in backticks is code. */
function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));
}

function tree(plan) {
  const measured = plan.analyzed;
  const costs = walk(plan.nodes).some((node) => node.share !== null);
  const list = element("ul", { className: "plan-tree", "aria-label": "Steps of the plan, the last to happen first" });
  list.append(...plan.nodes.map((node) => step(node, measured)));
  const note = costs ? "The bar is a step's own part of the cost." : "This database tells no costs.";
  return element("div", {}, list, element("p", { className: "muted" }, note));
}

const walk = (nodes) => nodes.flatMap((node) => [node, ...walk(node.children)]);

function step(node, measured) {
  const level = node.kind === "scan" && node.share !== null && node.share >= 0.5 ? "hot" : "";
  const line = element(
    "div",
    { className: `plan-step ${level}` },
    bar(node.share),
    element("span", { className: "plan-what" }, element("b", {}, node.operation), ...subject(node)),
    element("span", { className: "muted num" }, rows(node, measured)),
  );
  const more = [
    ...node.conditions.map(([label, text]) => element("div", { className: "plan-more" }, element("span", { className: "muted" }, `${label} `), element("code", {}, text))),
    ...node.notes.map((text) => element("div", { className: "plan-more muted" }, text)),
  ];
  const children = node.children.length ? element("ul", {}, ...node.children.map((child) => step(child, measured))) : null;
  return element("li", {}, line, ...more, children);
}

function subject({ table, alias, index, operation }) {
  const name = table || (alias && !operation.includes(alias) ? alias : "");
  return [
    name && !operation.includes(name) ? element("span", { className: "mono" }, ` ${name}`) : null,
    table && alias && alias !== table ? element("span", { className: "muted" }, ` as ${alias}`) : null,
    index && !operation.includes(index) ? element("span", { className: "muted" }, " by ", element("span", { className: "mono" }, index)) : null,
  ].filter(Boolean);
}

function rows({ rows: expected, actual_rows: found, loops, duration: spent, share }, measured) {
  const parts = [];
  if (measured && found !== null) parts.push(`${figure(found)} rows of ${figure(expected)} expected`);
  else if (expected !== null) parts.push(`${figure(expected)} ${expected === 1 ? "row" : "rows"}`);
  if (loops > 1) parts.push(`${count(loops)} times`);
  if (spent !== null) parts.push(duration(spent));
  if (share !== null) parts.push(`${Math.round(share * 100)} %`);
  return parts.join(" · ");
}

function bar(share) {
  const filled = element("span", {});
  filled.style.inlineSize = `${Math.round((share ?? 0) * 100)}%`;
  const frame = element("span", { className: "plan-bar", "aria-hidden": "true" }, filled);
  frame.hidden = share === null;
  return frame;
}

const figure = (number) => (number === null ? "?" : count(Math.round(number * 10) / 10));
