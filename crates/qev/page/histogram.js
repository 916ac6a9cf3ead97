/**
 * How many records there were over time, by severity, as bars. A stretch of it can be chosen: with the pointer, or with
 * the keys (arrows move, Shift widens, Enter takes it).
 */

import { between, timeTicks } from "./plot.js";
import { SEVERITIES, severityClass } from "./severity.js";
import { drawn, element } from "./text.js";
import { clock, dayAndClock, DAY } from "./time.js";
import { counted } from "./numbers.js";

/** @typedef {import("./api.js").Histogram} Drawn */

const WIDTH = 1000;
const HEIGHT = 64;

/** @param {import("./api.js").Bucket} bucket @param {string} severity */
function number(bucket, severity) {
  const value = Number(bucket[severity] ?? 0);
  return Number.isFinite(value) ? value : 0;
}

/** @param {import("./api.js").Bucket} bucket */
export function total(bucket) {
  return SEVERITIES.reduce((sum, severity) => sum + number(bucket, severity), 0);
}

export class HistogramView {
  /** @type {Drawn | undefined} */
  #shown;
  /** @type {[number, number] | undefined} buckets that are chosen, first and last */
  #chosen;
  #dragFrom = -1;

  /** @param {(from: number, until: number) => void} choose what to do with a stretch that was chosen */
  constructor(choose) {
    this.choose = choose;
    this.bars = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "bars", "aria-hidden": "true" });
    this.axis = element("div", { class: "axis", "aria-hidden": "true" });
    this.words = element("p", { class: "histogram-words", id: "histogram-words" }, "…");
    this.area = element(
      "div",
      {
        class: "histogram-area",
        tabindex: "0",
        role: "group",
        "aria-label": "Records over time. Arrow keys choose a stretch, Shift widens it, Enter shows only that.",
        "aria-describedby": "histogram-words",
        pointerdown: (/** @type {PointerEvent} */ event) => this.#down(event),
        pointermove: (/** @type {PointerEvent} */ event) => this.#move(event),
        pointerup: (/** @type {PointerEvent} */ event) => this.#up(event),
        pointercancel: () => this.#choose(undefined),
        pointerleave: () => this.#dragFrom < 0 && this.#choose(undefined),
        keydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
        blur: () => this.#choose(undefined),
      },
      this.bars,
    );
    this.element = element("section", { class: "histogram", "aria-label": "Records over time" }, this.area, this.axis, this.words);
  }

  /** @param {Drawn} histogram */
  show(histogram) {
    this.#shown = histogram;
    const { buckets } = histogram;
    const most = Math.max(1, ...buckets.map(total));
    const width = WIDTH / Math.max(1, buckets.length);
    /** @type {Map<string, string>} one path for each severity */
    const paths = new Map();
    buckets.forEach((bucket, index) => {
      let top = HEIGHT;
      for (const severity of SEVERITIES) {
        const count = number(bucket, severity);
        if (count === 0) continue;
        // What matters more than a notice is seen however rare it is.
        const least = severity === "debug" || severity === "info" || severity === "notice" ? 1.5 : 4;
        const height = Math.max(least, (count / most) * (HEIGHT - 6));
        top -= height;
        const bar = `M${(index * width + width * 0.08).toFixed(2)} ${top.toFixed(2)}h${(width * 0.84).toFixed(2)}v${height.toFixed(2)}h-${(width * 0.84).toFixed(2)}z`;
        paths.set(severity, (paths.get(severity) ?? "") + bar);
      }
    });
    this.brush = drawn("rect", { class: "brush", y: 0, height: HEIGHT, width: 0 });
    this.bars.replaceChildren(
      ...[...paths].map(([severity, d]) => drawn("path", { d, class: `bar ${severityClass(severity)}` })),
      this.brush,
    );
    const from = Date.parse(histogram.from);
    const until = Date.parse(histogram.until);
    this.axis.replaceChildren(
      ...timeTicks(from, until, 6).filter(({ at }) => (until - at) / (until - from) > 0.06).map(({ at, text }) => {
        const tick = element("span", null, text);
        tick.style.setProperty("--at", String(between((at - from) / (until - from), 0, 1)));
        return tick;
      }),
    );
    this.#say();
  }

  /** @param {[number, number] | undefined} chosen */
  #choose(chosen) {
    this.#chosen = chosen;
    const buckets = this.#shown?.buckets.length ?? 0;
    if (this.brush && buckets > 0) {
      const [first, last] = chosen ?? [0, -1];
      this.brush.setAttribute("x", String((first / buckets) * WIDTH));
      this.brush.setAttribute("width", String(((last - first + 1) / buckets) * WIDTH));
    }
    this.#say();
  }

  #say() {
    const shown = this.#shown;
    if (!shown) return;
    const [first, last] = this.#chosen ?? [0, shown.buckets.length - 1];
    const stretch = shown.buckets.slice(first, last + 1);
    const sums = SEVERITIES.toReversed()
      .map((severity) => ({ severity, sum: stretch.reduce((sum, bucket) => sum + number(bucket, severity), 0) }))
      .filter(({ sum }) => sum > 0);
    const all = sums.reduce((sum, each) => sum + each.sum, 0);
    const [from, until] = this.#times(first, last);
    const told = until - from > DAY ? dayAndClock : clock;
    const parts = sums.map(({ severity, sum }) => `${sum} ${severity}`).join(", ");
    const cut = shown.complete ? "" : " Not all: there are more than were counted.";
    this.words.textContent = `${told(from)} to ${told(until)}: ${counted(all, "record")}${parts ? ` (${parts})` : ""}.${cut}`;
  }

  /** @param {number} first @param {number} last @returns {[number, number]} */
  #times(first, last) {
    const from = Date.parse(this.#shown?.from ?? "");
    const until = Date.parse(this.#shown?.until ?? "");
    const step = (until - from) / Math.max(1, this.#shown?.buckets.length ?? 1);
    return [from + first * step, from + (last + 1) * step];
  }

  /** @param {PointerEvent} event */
  #bucketAt(event) {
    const box = this.area.getBoundingClientRect();
    const buckets = this.#shown?.buckets.length ?? 0;
    return between(Math.floor(((event.clientX - box.left) / box.width) * buckets), 0, buckets - 1);
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (!this.#shown || event.button !== 0) return;
    this.#dragFrom = this.#bucketAt(event);
    this.area.setPointerCapture(event.pointerId);
    this.#choose([this.#dragFrom, this.#dragFrom]);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (!this.#shown) return;
    const at = this.#bucketAt(event);
    const from = this.#dragFrom < 0 ? at : this.#dragFrom;
    this.#choose([Math.min(from, at), Math.max(from, at)]);
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (this.#dragFrom < 0) return;
    this.#move(event);
    this.#dragFrom = -1;
    this.#take();
  }

  #take() {
    if (!this.#chosen) return;
    const [from, until] = this.#times(...this.#chosen);
    this.choose(from, until);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const buckets = this.#shown?.buckets.length ?? 0;
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step !== 0 && buckets > 0) {
      const [first, last] = this.#chosen ?? [buckets, buckets - 1];
      const moved = between(first + (event.shiftKey && step > 0 ? 0 : step), 0, buckets - 1);
      const end = between(event.shiftKey ? last + (step > 0 ? 1 : 0) : moved, moved, buckets - 1);
      this.#choose([moved, end]);
      event.preventDefault();
    } else if (event.key === "Enter") {
      this.#take();
      event.preventDefault();
      event.stopPropagation();
    }
  }
}
