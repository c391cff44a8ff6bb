// Which rows are shown: a tree of spans or tasks with what is folded, or what a search finds.

/** From this many neighbours with one name and no children, in a trace too long to read, one row stands for all. */
const RUN = 5;
const ALL_OPEN = 50;

export class Tree {
  /** Items have `id`, `parent`, `depth`, `name`; parents stand before children. `runs`: fold like neighbours. */
  constructor(items, { runs = false, texts = spanTexts } = {}) {
    this.foldRuns = runs;
    this.texts = texts;
    this.folded = new Set();
    this.opened = new Set();
    this.wanted = "";
    this.also = null;
    this.found = 0;
    this.load(items);
  }

  load(items) {
    this.items = items;
    this.index = new Map(items.map((span, number) => [span.id, number]));
    this.runs = this.foldRuns && items.length > ALL_OPEN ? findRuns(items) : new Map();
    this.layOut();
  }

  /** Show what has the text in it, and of that what `also` says yes to. */
  find(text, also = null) {
    this.wanted = text.trim().toLowerCase();
    this.also = also;
    this.layOut();
  }

  get searching() {
    return Boolean(this.wanted || this.also);
  }

  matches(item) {
    return this.texts(item).some((text) => text.toLowerCase().includes(this.wanted)) && (!this.also || this.also(item));
  }

  layOut() {
    this.shown = this.searching ? this.search() : this.unfold();
    markBrackets(this.shown);
  }

  unfold() {
    const spans = this.items;
    const shown = [];
    for (let number = 0; number < spans.length; ) {
      const run = this.runs.get(number);
      if (run) {
        shown.push(asRun(run, !this.opened.has(run.id)));
        if (this.opened.has(run.id)) shown.push(...run.spans.map((span) => asRow(span, { deeper: 1 })));
        number += run.spans.length;
        continue;
      }
      const span = spans[number];
      const end = endOfBranch(spans, number);
      const folded = this.folded.has(span.id);
      shown.push(asRow(span, { foldable: end > number + 1, folded }));
      number = folded ? end : number + 1;
    }
    return shown;
  }

  search() {
    const spans = this.items;
    const kept = new Map();
    this.found = 0;
    for (const span of spans) {
      if (!this.matches(span)) continue;
      this.found += 1;
      kept.set(span.id, false);
      for (let above = this.above(span); above && !kept.has(above.id); above = this.above(above)) kept.set(above.id, true);
    }
    return spans.filter((span) => kept.has(span.id)).map((span) => asRow(span, { dim: kept.get(span.id) }));
  }

  above(span) {
    return span.parent === null ? undefined : this.items[this.index.get(span.parent)];
  }

  /** Fold or unfold the row at `index`; false when there is nothing to fold. */
  toggle(index) {
    const item = this.shown[index];
    if (!item?.foldable) return false;
    const set = item.run ? this.opened : this.folded;
    if (!set.delete(item.id)) set.add(item.id);
    this.layOut();
    return true;
  }

  /** Fold or unfold everything. */
  foldAll(folded) {
    this.folded = new Set(folded ? this.items.filter((item, at) => this.items[at + 1]?.depth > item.depth).map(({ id }) => id) : []);
    this.layOut();
  }

  parentOf(index) {
    const { depth } = this.shown[index];
    for (let at = index - 1; at >= 0; at -= 1) if (this.shown[at].depth < depth) return at;
    return index;
  }

  /** Unfold what hides a span; the index of its row, -1 when it is not there. */
  reveal(id) {
    for (let above = this.items[this.index.get(id)]; above; above = this.above(above)) if (above.id !== id) this.folded.delete(above.id);
    for (const run of this.runs.values()) if (run.spans.some((span) => span.id === id)) this.opened.add(run.id);
    this.layOut();
    return this.shown.findIndex((item) => item.span_id === id && !item.run);
  }
}

function asRow(span, { deeper = 0, foldable = false, folded = false, dim = false }) {
  return { ...span, span_id: span.id, depth: span.depth + deeper, duration_shown: span.duration, foldable, folded, dim, bracket: "" };
}

function asRun(run, folded) {
  const [first] = run.spans;
  const last = run.spans.at(-1);
  const total = run.spans.reduce((sum, span) => sum + span.duration, 0);
  return {
    ...first,
    id: run.id,
    span_id: first.id,
    run,
    name: `${run.spans.length} × ${first.name}`,
    duration: total,
    self_time: total,
    duration_shown: last.start + last.duration - first.start,
    error: run.spans.find((span) => span.error)?.error ?? "",
    critical: run.spans.some((span) => span.critical),
    n_plus_one: run.spans.find((span) => span.n_plus_one)?.n_plus_one ?? "",
    events: [],
    foldable: true,
    folded,
    dim: false,
    bracket: "",
  };
}

function endOfBranch(spans, number) {
  let end = number + 1;
  while (end < spans.length && spans[end].depth > spans[number].depth) end += 1;
  return end;
}

function findRuns(spans) {
  const runs = new Map();
  for (let number = 0; number < spans.length; ) {
    let end = number + 1;
    while (end < spans.length && alike(spans[number], spans[end])) end += 1;
    const last = end < spans.length && spans[end].depth > spans[end - 1].depth ? end - 1 : end;
    if (last - number >= RUN) runs.set(number, { id: `run-${spans[number].id}`, spans: spans.slice(number, last) });
    number = Math.max(last, number + 1);
  }
  return runs;
}

const alike = (a, b) => a.parent === b.parent && a.depth === b.depth && a.name === b.name && a.category === b.category;

const spanTexts = (span) => [span.name, span.text, span.category, span.service, span.error, span.id, span.n_plus_one && "n+1"];

/** Neighbours in N+1 groups are joined by a bracket; two groups often alternate in one loop. */
function markBrackets(rows) {
  const joined = (row, other) => Boolean(other?.n_plus_one) && other.depth === row.depth;
  for (const [at, row] of rows.entries()) {
    if (!row.n_plus_one) continue;
    const before = joined(row, rows[at - 1]);
    const after = joined(row, rows[at + 1]);
    row.bracket = `in${before ? "" : " first"}${after ? "" : " last"}`;
  }
}
