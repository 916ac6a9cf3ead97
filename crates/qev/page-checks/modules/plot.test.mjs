// The arithmetic of the drawings, and numbers and times as words.

import assert from "node:assert/strict";
import { test } from "node:test";

import { counted, grouped, size } from "../../page/numbers.js";
import { between, diskEnd, extent, linear, runs, spans, stepPath, timeTicks } from "../../page/plot.js";
import { MINUTE, ago, lasting, readTime } from "../../page/time.js";

test("a scale keeps proportions, and a point has a middle", () => {
  const x = linear([100, 200], [0, 10]);
  assert.deepEqual([x(100), x(150), x(200), x(250)], [0, 5, 10, 15]);
  assert.equal(linear([5, 5], [0, 10])(5), 5);
  assert.equal(between(15, 0, 10), 10);
});

test("a step keeps its height until the next value", () => {
  const same = (/** @type {number} */ value) => value;
  assert.equal(stepPath([{ at: 0, value: 5 }, { at: 10, value: 7 }], same, same, 30), "M0 5H10V7H30");
  assert.equal(stepPath([], same, same, 30), "");
});

test("a state holds until the next one, and never ends before it began", () => {
  const states = [{ at: 10, state: "running" }, { at: 20, state: "paused" }, { at: 15, state: "running" }];
  assert.deepEqual(spans(states, 12).map(({ at, until }) => [at, until]), [[10, 20], [20, 20], [15, 15]]);
});

test("ticks are round, within the time, and not too many", () => {
  const from = Date.parse("2026-11-24T12:03:20Z");
  for (const length of [1, 30, 90, 600, 86_400, 30 * 86_400, 3 * 365 * 86_400]) {
    const ticks = timeTicks(from, from + length * 1000, 6);
    assert.ok(ticks.length <= 7 && ticks.length >= 1, `${length}: ${ticks.length}`);
    assert.ok(ticks.every(({ at }) => at >= from && at <= from + length * 1000));
  }
  assert.ok(timeTicks(from, from + 60 * MINUTE, 6).every(({ at }) => at % (10 * MINUTE) === 0));
  assert.deepEqual(timeTicks(5, 5, 6), []);
});

test("a plot has room, whatever the values are", () => {
  assert.deepEqual(extent([]), [0, 1]);
  const [low, high] = extent([-5, 100]);
  assert.ok(low < -5 && high > 100);
  const [under, over] = extent([268_435_456]);
  assert.ok(under < 268_435_456 && over > 268_435_456);
});

test("sectors that touch or overlap are one run", () => {
  const reports = [{ sector: 8, count: 8 }, { sector: 0, count: 4 }, { sector: 16, count: 4 }, { sector: 10, count: 2 }];
  assert.deepEqual(runs(reports).map(({ sector, count, reports: { length } }) => [sector, count, length]), [[0, 4, 1], [8, 12, 3]]);
});

test("a disk ends behind the last sector that was named", () => {
  assert.equal(diskEnd([]), 0);
  assert.equal(diskEnd([{ sector: 8, count: 8 }]), 64);
  assert.equal(diskEnd([{ sector: 0, count: 128 }, { sector: 256, count: 8 }]), 512);
});

test("numbers and times are words", () => {
  assert.deepEqual([size(0), size(1536), size(268_435_456), size(-4096), size(944_766_976)], ["0 bytes", "1.5 KiB", "256 MiB", "-4 KiB", "901 MiB"]);
  assert.deepEqual([grouped(1_234_567), counted(1, "record"), counted(2000, "record")], ["1,234,567", "1 record", "2,000 records"]);
  assert.deepEqual([lasting(40_000), lasting(4 * MINUTE), lasting(180 * MINUTE), lasting(-5)], ["40 s", "4 min", "3 h", "0 s"]);
  assert.equal(ago(0, 60_000), "60 s ago");
});

test("times in addresses are read where the page must know them", () => {
  const now = Date.parse("2026-11-24T12:00:00Z");
  assert.equal(readTime("-15min", now), now - 15 * MINUTE);
  assert.equal(readTime("@1795347310", now), 1_795_347_310_000);
  assert.equal(readTime("2026-11-24T11:00:00Z", now), now - 60 * MINUTE);
  assert.deepEqual([readTime("yesterday", now), readTime("", now), readTime(undefined, now)], [undefined, undefined, undefined]);
});
