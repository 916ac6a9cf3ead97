// Folding: the same rows, however the records came.

import assert from "node:assert/strict";
import { test } from "node:test";

import { APART, KEPT, Rows, foldingKey } from "../../page/fold.js";

const BEGIN = Date.parse("2026-11-24T12:00:00Z");

/**
 * @param {number} seq
 * @param {number} seconds
 * @param {string} summary
 * @param {Partial<import("../../page/record.js").LogRecord>} [more]
 * @returns {import("../../page/record.js").LogRecord}
 */
function record(seq, seconds, summary, more = {}) {
  const time = BEGIN + seconds * 1000;
  const fields = { seq, kind: "event", machine: "web1", event: "STOP", severity: /** @type {const} */ ("notice"), summary, ...more };
  return { ...fields, received: new Date(time).toISOString(), time, raw: JSON.stringify(fields) };
}

/** @param {Rows} rows */
function shown(rows) {
  return rows.rows.map((row) => `${row.newest.seq}×${row.count}`);
}

/** A day with repetitions, oldest first; the same each time. */
function aDay() {
  let state = 7;
  const random = (/** @type {number} */ below) => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
  let seconds = 0;
  return Array.from({ length: 600 }, (_, index) => {
    seconds += random(90);
    const kind = random(20) === 0 ? "gap" : "event";
    return record(index + 1, seconds, `replica c${random(2)} gave bad data: 8 sectors at ${random(4096)} (read)`, { kind, machine: `web${random(3)}` });
  });
}

test("what says the same within five minutes is one row, where the newest stands", () => {
  const rows = new Rows();
  rows.appendOlder([record(4, 40, "balloon at 192 MiB"), record(3, 30, "paused"), record(2, 20, "balloon at 200 MiB"), record(1, 10, "balloon at 255.5 MiB")]);
  assert.deepEqual(shown(rows), ["4×3", "3×1"]);
  assert.equal(rows.rows[0]?.oldest, BEGIN + 10_000);
});

test("what lies further apart is another row", () => {
  const rows = new Rows();
  rows.appendOlder([record(2, APART / 1000 + 1, "paused"), record(1, 0, "paused")]);
  assert.deepEqual(shown(rows), ["2×1", "1×1"]);
});

test("another machine, replica, slot or severity is another row, and gaps never fold", () => {
  const one = foldingKey(record(1, 0, "replica c1 gave bad data: 8 sectors at 8 (read)"));
  assert.equal(one, foldingKey(record(2, 0, "replica c1 gave bad data: 16 sectors at 4096 (read)")));
  assert.notEqual(one, foldingKey(record(2, 0, "replica c2 gave bad data: 8 sectors at 8 (read)")));
  assert.notEqual(one, foldingKey(record(2, 0, "replica c1 gave bad data: 8 sectors at 8 (read)", { machine: "web2" })));
  assert.notEqual(foldingKey(record(1, 0, "guest released DIMM slot 0")), foldingKey(record(1, 0, "guest released DIMM slot 1")));
  assert.equal(foldingKey(record(1, 0, "gap", { kind: "gap" })), undefined);
});

test("rows are the same whether records were loaded at once, in pages, or came one by one", () => {
  const day = aDay();
  const atOnce = new Rows();
  atOnce.appendOlder(day.toReversed());
  const oneByOne = new Rows();
  for (const each of day) oneByOne.prependNewer(each);
  assert.deepEqual(shown(oneByOne), shown(atOnce));
  for (const live of [1, 50, 333]) {
    const mixed = new Rows();
    const early = day.slice(0, -live).toReversed();
    while (early.length > 0) mixed.appendOlder(early.splice(0, 37));
    for (const each of day.slice(-live)) mixed.prependNewer(each);
    assert.deepEqual(shown(mixed), shown(atOnce), `${live} came live`);
  }
  assert.equal(atOnce.records, day.length);
  assert.ok(atOnce.rows.length < day.length / 2, "something folded");
});

test("what is here already is passed over", () => {
  const day = aDay().toReversed();
  const rows = new Rows();
  rows.appendOlder(day.slice(0, 300));
  const before = shown(rows);
  rows.appendOlder(day.slice(100, 300));
  assert.deepEqual(shown(rows), before);
});

test("neither a row nor the list grows without end", () => {
  const rows = new Rows();
  for (let seq = 1; seq <= 5000; seq += 1) rows.prependNewer(record(seq, seq, seq % 2 === 0 ? "paused" : "running"));
  assert.deepEqual(rows.rows.map((row) => [row.count, row.records.length]), [[2500, KEPT], [2500, KEPT]]);
  for (let seq = 5001; seq <= 7000; seq += 1) rows.prependNewer(record(seq, seq * 1000, "paused"));
  rows.trimOldest(100);
  assert.equal(rows.rows.length, 100);
  assert.equal(rows.records, rows.rows.reduce((sum, row) => sum + row.count, 0));
  assert.ok(rows.first.size <= 2 && rows.last.size <= 2);
});

test("a record that was shown before it was on disk can be taken away again", () => {
  const rows = new Rows();
  const { row } = rows.prependNewer({ ...record(1, 0, "paused"), seq: undefined });
  rows.remove(row);
  assert.deepEqual([rows.rows.length, rows.records], [0, 0]);
  rows.prependNewer(record(1, 0, "paused"));
  assert.deepEqual(shown(rows), ["1×1"]);
});
