// What is in a message: JSON as a tree that is built as far as it is opened, text, bytes.

import { count, element } from "./common.js";

const CHILDREN = 200;
const OPEN_LEVELS = 2;

/** The value of a JSON text, numbers that JavaScript cannot hold as they were written; else null. */
export function parse(text) {
  if (!/^\s*[[{]/.test(text)) return null;
  try {
    return JSON.parse(text, (_, value, context) =>
      typeof value === "number" && context?.source && String(value) !== context.source ? new Exact(context.source) : value,
    );
  } catch {
    return null;
  }
}

class Exact {
  constructor(source) {
    this.source = source;
  }
}

const isBranch = (value) => value !== null && typeof value === "object" && !(value instanceof Exact);

function leaf(value) {
  if (value instanceof Exact) return element("span", { className: "n" }, value.source);
  const kind = typeof value === "string" ? "s" : typeof value === "number" ? "n" : "k";
  return element("span", { className: kind }, JSON.stringify(value));
}

function shape(value) {
  const items = Array.isArray(value) ? value.length : Object.keys(value).length;
  const words = `${count(items)} ${items === 1 ? "item" : "items"}`;
  return Array.isArray(value) ? `[ ${words} ]` : `{ ${words} }`;
}

/** A line for a value with its name, or a part that opens where it has parts itself. */
function node(name, value, level) {
  const label = name === null ? "" : element("span", { className: "key" }, `${name}: `);
  if (!isBranch(value)) return element("div", { className: "leaf" }, label, leaf(value));
  const summary = element("summary", {}, label, element("span", { className: "muted" }, shape(value)));
  const part = element("details", {}, summary);
  const build = () => {
    if (part.childElementCount === 1) part.append(children(value, level + 1));
  };
  part.addEventListener("toggle", () => part.open && build());
  if (level < OPEN_LEVELS) {
    build();
    part.open = true;
  }
  return part;
}

function children(value, level, from = 0) {
  const names = Array.isArray(value) ? null : Object.keys(value);
  const length = names ? names.length : value.length;
  const block = element("div", { className: "children" });
  const add = (first) => {
    const last = Math.min(length, first + CHILDREN);
    for (let at = first; at < last; at += 1) {
      const name = names ? names[at] : at;
      block.append(node(names ? JSON.stringify(name) : name, value[name], level));
    }
    if (last === length) return;
    const more = element("button", { type: "button", className: "quiet" }, `${count(length - last)} more`);
    more.addEventListener("click", () => {
      more.remove();
      add(last);
    });
    block.append(more);
  };
  add(from);
  return block;
}

/** The tree of a parsed value. */
export const tree = (value) => element("div", { className: "json" }, node(null, value, 0));

/** Hex digits as lines of so many bytes with their offset and what of it is ASCII. */
export function dump(digits, many) {
  const bytes = digits.replace(/[^0-9a-f]/gi, "").match(/../g) ?? [];
  const lines = [];
  for (let at = 0; at < bytes.length; at += many) {
    const part = bytes.slice(at, at + many);
    const text = part.map((digit) => parseInt(digit, 16)).map((code) => (code >= 32 && code < 127 ? String.fromCharCode(code) : "."));
    lines.push(`${at.toString(16).padStart(6, "0")}  ${part.join(" ").padEnd(many * 3 - 1)}  ${text.join("")}`);
  }
  return lines.join("\n");
}

/** The digits of a text's UTF-8 bytes. */
export const digitsOf = (text) => [...new TextEncoder().encode(text)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
