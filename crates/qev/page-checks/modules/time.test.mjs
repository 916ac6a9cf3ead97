import assert from "node:assert/strict";
import { test } from "node:test";

import { zoneInWords } from "../../page/time.js";

test("the time zone is named by its distance from UTC at that moment", () => {
  /** @param {number} minutes as Date has it: positive in the west @param {string} expected */
  const check = (minutes, expected) => {
    const date = new Date(0);
    date.getTimezoneOffset = () => minutes;
    assert.equal(zoneInWords(date).offset, expected);
  };
  check(0, "UTC");
  check(300, "UTC−5");
  check(-345, "UTC+5:45");
  check(210, "UTC−3:30");
  check(-60, "UTC+1");
});
