import assert from "node:assert/strict";
import { test } from "node:test";

import { placeAfter } from "../../page/arrow-keys.js";

test("arrows move by one and stay inside, Home and End go to the ends", () => {
  /** @param {string} key @param {number} at @param {number | undefined} expected */
  const check = (key, at, expected) => assert.equal(placeAfter(key, at, 3), expected, `${key} from ${at}`);
  check("ArrowLeft", 1, 0);
  check("ArrowLeft", 0, 0);
  check("ArrowRight", 1, 2);
  check("ArrowRight", 2, 2);
  check("ArrowUp", 2, 1);
  check("ArrowDown", 0, 1);
  check("Home", 2, 0);
  check("End", 0, 2);
  check("Enter", 1, undefined);
});
