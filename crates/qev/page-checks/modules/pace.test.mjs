// How much of a list is drawn, and how often; and that only what changed is said anew.

import assert from "node:assert/strict";
import { test } from "node:test";

import { STEP, restAfter, rowsNear } from "../../page/pace.js";
import { Said } from "../../page/said.js";

/** What a row of one line is tall, and from how far below the end older ones are asked for, in pixels. */
const ROW = 28;
const ASKED_FROM = 600;

test("what is in sight is drawn, and so much below it that nothing older is asked for", () => {
  for (const height of [0, 400, 900, 2160]) assert.ok(rowsNear(height) * ROW > height + ASKED_FROM, `${height}`);
  assert.ok(rowsNear(900) < 100, "a flood is drawn a few times a second");
  assert.ok(STEP * ROW > ASKED_FROM, "one step is enough");
});

test("one record is shown at once, and after many there is time for something else", () => {
  assert.ok(restAfter(1) < 16);
  assert.ok(restAfter(20) > restAfter(2));
  for (const rows of [70, 1000, Infinity]) assert.equal(restAfter(rows), 300);
});

test("what is said already is not said again", () => {
  const said = new Said();
  /** @type {string[]} */
  const heard = [];
  for (const words of ["one", "one", "two", "two", "one"]) said.tell("part", words, (each) => heard.push(each));
  said.tell("another part", "one", (each) => heard.push(each));
  assert.deepEqual(heard, ["one", "two", "one", "one"]);
});
