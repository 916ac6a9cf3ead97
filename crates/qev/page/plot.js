/** The arithmetic of drawings: scales, ticks, steps. No drawing here. */

import { DAY, HOUR, MINUTE, SECOND, clock, day } from "./time.js";

/**
 * A value's place. What lies outside stays outside.
 *
 * @param {[number, number]} domain
 * @param {[number, number]} range
 * @returns {(value: number) => number}
 */
export function linear([from, until], [low, high]) {
  const length = until - from;
  return (value) => (length === 0 ? (low + high) / 2 : low + ((value - from) / length) * (high - low));
}

/** @param {number} value @param {number} low @param {number} high */
export function between(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

const STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((n) => n * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR),
  ...[1, 2, 7, 14, 30, 90, 365].map((n) => n * DAY),
];

/**
 * Round times between two, at most so many.
 *
 * @param {number} from
 * @param {number} until
 * @param {number} most
 * @returns {{at: number, text: string}[]}
 */
export function timeTicks(from, until, most) {
  if (!(until > from) || most < 1) return [];
  const step = STEPS.find((length) => (until - from) / length <= most) ?? Infinity;
  if (step === Infinity) return [];
  // Round as the clock on the wall has it.
  const shift = new Date(from).getTimezoneOffset() * MINUTE;
  const ticks = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= until; at += step) {
    ticks.push({ at, text: step >= DAY ? day(at) : step >= MINUTE ? clock(at).slice(0, 5) : clock(at) });
  }
  return ticks;
}

/**
 * A line that keeps its height until the next value: what a balloon's size or a target does.
 *
 * @param {{at: number, value: number}[]} points in the order of their times
 * @param {(at: number) => number} x
 * @param {(value: number) => number} y
 * @param {number} until where the last value ends
 * @returns {string} for the `d` of a path
 */
export function stepPath(points, x, y, until) {
  const [first] = points;
  if (!first) return "";
  let path = `M${round(x(first.at))} ${round(y(first.value))}`;
  for (const { at, value } of points.slice(1)) path += `H${round(x(at))}V${round(y(value))}`;
  return `${path}H${round(x(Math.max(until, first.at)))}`;
}

/** @param {number} number */
function round(number) {
  return Math.round(number * 100) / 100;
}

/**
 * What was the case from when until when, out of the moments at which it changed.
 *
 * @template {{at: number}} T
 * @param {T[]} changes in the order of their times
 * @param {number} until
 * @returns {(T & {until: number})[]}
 */
export function spans(changes, until) {
  return changes.map((change, index) => ({ ...change, until: Math.max(change.at, changes[index + 1]?.at ?? until) }));
}

/**
 * The least and the largest, with some room; something to draw in even when all are the same.
 *
 * @param {number[]} values
 * @returns {[number, number]}
 */
export function extent(values) {
  if (values.length === 0) return [0, 1];
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  const room = high === low ? Math.max(1, Math.abs(high) * 0.05) : (high - low) * 0.08;
  return [low - room, high + room];
}

/**
 * How long a disk is taken to be of which only some sectors were named: a round number of bytes behind the last.
 *
 * @param {{sector: number, count: number}[]} named
 * @returns {number} in sectors
 */
export function diskEnd(named) {
  const last = named.reduce((end, { sector, count }) => Math.max(end, sector + Math.max(1, count)), 0);
  if (last === 0) return 0;
  let end = 64;
  while (end < last) end *= 2;
  return end;
}

/**
 * Runs of sectors with what touches or overlaps joined, so that a strip has few marks however many reports there were.
 *
 * @template {{sector: number, count: number}} T
 * @param {T[]} reports
 * @returns {{sector: number, count: number, reports: T[]}[]}
 */
export function runs(reports) {
  /** @type {{sector: number, count: number, reports: T[]}[]} */
  const joined = [];
  for (const report of reports.toSorted((a, b) => a.sector - b.sector)) {
    const last = joined.at(-1);
    if (last && report.sector <= last.sector + last.count) {
      last.count = Math.max(last.count, report.sector + report.count - last.sector);
      last.reports.push(report);
    } else {
      joined.push({ sector: report.sector, count: report.count, reports: [report] });
    }
  }
  return joined;
}
