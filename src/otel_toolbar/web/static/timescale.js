// The part of the time that is shown, and how it is zoomed and panned. Times in s.

import { duration } from "./common.js";

/** The shortest stretch that can be shown, as a share of the whole. */
const SHORTEST = 1e-5;

export class TimeScale {
  constructor(whole) {
    this.from = 0;
    this.to = 0;
    this.whole = 0;
    this.load(whole);
  }

  /** The time has grown, or is known now; who saw all of it goes on to. */
  load(whole) {
    const all = !this.zoomed;
    this.whole = whole || 1e-9;
    if (all) this.reset();
  }

  reset() {
    this.from = 0;
    this.to = this.whole;
  }

  get width() {
    return this.to - this.from;
  }

  get zoomed() {
    return this.from > 0 || this.to < this.whole;
  }

  /** Where a time stands in what is shown: 0 at the left, 1 at the right. */
  share(time) {
    return (time - this.from) / this.width;
  }

  at(share) {
    return this.from + share * this.width;
  }

  zoomTo(from, to) {
    const width = Math.min(this.whole, Math.max(to - from, this.whole * SHORTEST));
    this.from = Math.max(0, Math.min(this.whole - width, from));
    this.to = this.from + width;
  }

  /** Less than 1 zooms in; the time at `anchor` stays where it is. */
  zoomBy(factor, anchor) {
    const fixed = Math.max(this.from, Math.min(this.to, anchor));
    this.zoomTo(fixed - (fixed - this.from) * factor, fixed + (this.to - fixed) * factor);
  }

  /** By a share of what is shown. */
  panBy(share) {
    const from = this.from + share * this.width;
    this.zoomTo(from, from + this.width);
  }

  /** Round times for an axis of so many pixels: `{share, text}` each. */
  ticks(pixels) {
    const step = niceStep(this.width / Math.max(1, Math.floor(pixels / 84)));
    const found = [];
    for (let time = Math.ceil(this.from / step) * step; time < this.to; time += step) {
      if ((1 - this.share(time)) * pixels < 56) break; // no room for its text
      found.push({ share: this.share(time), text: time === 0 ? "0" : precise(time, step) });
    }
    return found;
  }
}

/** Enough digits that neighbours on the axis differ. */
function precise(time, step) {
  const thousandths = step * 1000;
  const digits = Math.max(0, Math.ceil(-Math.log10(thousandths) - 1e-9));
  return time < 1 && thousandths < 1 ? `${(time * 1000).toFixed(Math.min(digits, 6))} ms` : duration(time);
}

/** 1, 2 or 5 times a power of ten, at least `least`. */
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((factor) => factor * power >= least) ?? 10);
}
