// Filters: typed, in the address, and asked of the daemon.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromAddress, fromText, isEmpty, noFilters, toAddress, toQuery, toText } from "../../page/filters.js";

/** @param {string} text @param {Partial<import("../../page/filters.js").Filters>} expected */
function check(text, expected) {
  assert.deepEqual(fromText(text), { ...noFilters(), ...expected });
}

test("each word says what it is", () => {
  check("", {});
  check("GUEST_* QUORUM_*", { event: ["GUEST_*", "QUORUM_*"] });
  check("machine:web* kind:gap severity:error", { machine: ["web*"], kind: ["gap"], severity: "error" });
  check("data.action=pause since:-1h until:2026-11-24T12:00:00Z", { where: ["data.action=pause"], since: "-1h", until: "2026-11-24T12:00:00Z" });
  check('machine:"my guest" where:"data.message=a b"', { machine: ["my guest"], where: ["data.message=a b"] });
  check('grep:"disk full" STOP', { grep: "disk full", event: ["STOP"] });
  check('machine:"unfinished', { machine: ["unfinished"] });
  check("machine: since:", {});
});

test("what is typed comes back as it would be typed again", () => {
  for (const text of ["GUEST_* data.action=pause machine:web* kind:gap grep:a=b severity:error since:-1h", 'machine:"a \\"b\\" \\\\ c"', "event:odd:name", "where:no-equals-sign"]) {
    const filters = fromText(text);
    assert.deepEqual(fromText(toText(filters)), filters, text);
    assert.deepEqual(fromAddress(new URLSearchParams(String(toAddress(filters)))), filters, text);
  }
});

test("a link holds whatever it was made of", () => {
  const filters = { ...noFilters(), machine: ["<img src=x onerror=alert(1)>", "a&b=c#d", "\u202Eevil"], where: ["data.x=1=2"], since: "yesterday" };
  assert.deepEqual(fromAddress(new URLSearchParams(String(toAddress(filters)))), filters);
  assert.ok(isEmpty(noFilters()) && !isEmpty(filters));
});

test("with events picked out, gaps are asked for too", () => {
  assert.equal(String(toQuery(fromText("GUEST_*"))), "event=GUEST_*&others=true&kind=event&kind=gap");
  assert.equal(String(toQuery(fromText("grep:full"))), "grep=full");
  assert.equal(String(toQuery(fromText("machine:web1"))), "machine=web1");
  assert.equal(String(toQuery(fromText("GUEST_* kind:event"))), "event=GUEST_*&kind=event");
});
