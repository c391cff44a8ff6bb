// How many tasks there were, and how much of the time the loop was held: for any stretch, quickly.

export class Load {
  constructor(lanes, blocking) {
    const tasks = lanes.filter(({ kind }) => kind === "task");
    this.starts = sorted(tasks.map(({ start }) => start));
    this.ends = sorted(tasks.map(({ start, duration }) => start + duration));
    const onLoop = lanes.filter(({ kind }) => kind !== "thread").flatMap(({ running }) => running);
    this.busyStretches = union([...onLoop, ...blocking.map(({ start, duration }) => [start, start + duration])]);
    this.busyStarts = this.busyStretches.map(([from]) => from);
    this.before = [0];
    for (const [from, to] of this.busyStretches) this.before.push(this.before.at(-1) + to - from);
  }

  /** Tasks that existed at a time. */
  alive(time) {
    return upTo(this.starts, time) - upTo(this.ends, time);
  }

  /** The most that existed at one time. */
  most() {
    return this.starts.reduce((most, time) => Math.max(most, this.alive(time)), 0);
  }

  /** Share of a stretch in which the loop was held. */
  busy(from, to) {
    return to > from ? (this.covered(to) - this.covered(from)) / (to - from) : 0;
  }

  covered(time) {
    const number = upTo(this.busyStarts, time);
    if (!number) return 0;
    const [from, to] = this.busyStretches[number - 1];
    return this.before[number - 1] + Math.min(time, to) - from;
  }
}

const sorted = (numbers) => numbers.sort((a, b) => a - b);

/** How many of the sorted numbers are at most `limit`. */
function upTo(numbers, limit) {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

function union(stretches) {
  const joined = [];
  for (const [from, to] of stretches.sort((a, b) => a[0] - b[0])) {
    const last = joined.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else joined.push([from, to]);
  }
  return joined;
}
