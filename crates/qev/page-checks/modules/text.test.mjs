// What a guest wrote stays text that can be seen, and JSON of QEMU's is read to the digit.

import assert from "node:assert/strict";
import { test } from "node:test";

import { laidOut } from "../../page/raw.js";
import { readJson, readRecords } from "../../page/record.js";
import { severityClass, worse } from "../../page/severity.js";
import { shortened, visible } from "../../page/text.js";

test("nothing unseen is left in a foreign text", () => {
  assert.equal(visible("\u001b[31mred\u0000\r\n"), "\\u{1b}[31mred\\u{0}\\u{d}\\u{a}");
  assert.equal(visible("\u202Eevil\u2066\u200F\u061C"), "\\u{202e}evil\\u{2066}\\u{200f}\\u{61c}");
  assert.equal(visible("a\u200Bb\uFEFFc\u{E0041}\u2028"), "a\\u{200b}b\\u{feff}c\\u{e0041}\\u{2028}");
  assert.equal(visible("\uD800 half"), "\\u{d800} half");
  assert.equal(visible(`z${"\u0301".repeat(500)}`).length, 6);
});

test("what people write stays as it is", () => {
  for (const text of ["<img src=x onerror=alert(1)>", "Größe, שלום, 日本語, é", "👩‍🚀 a\u00A0b"]) assert.equal(visible(text), text);
});

test("a name of 64 KiB is cut, and says how long it is", () => {
  const cut = shortened("A".repeat(65_536));
  assert.ok(cut.length < 500 && cut.endsWith("… (65536 characters)"), cut);
});

test("numbers that JavaScript cannot hold, and those that are none, keep their digits", () => {
  assert.deepEqual(readJson('{"arg5": 18446735281458241536, "arg1": 209, "s": "inf 18446735281458241536", "x": -inf, "y": nan}'), {
    arg5: "18446735281458241536",
    arg1: 209,
    s: "inf 18446735281458241536",
    x: "-inf",
    y: "nan",
  });
  assert.deepEqual(readJson('{"a": 1795347310942235, "f": 0.1234567890123456}'), { a: 1_795_347_310_942_235, f: 0.123_456_789_012_345_6 });
});

test("a page of the journal is records, and what cannot be read of it", () => {
  const page = '{"seq":2,"kind":"event","received":"2026-11-24T12:00:00Z"}\n{"problem":"the segment is damaged"}\n';
  const { records, problems } = readRecords(page);
  assert.deepEqual([records.map(({ seq }) => seq), problems], [[2], ["the segment is damaged"]]);
  assert.equal(records[0]?.raw, page.split("\n")[0]);
});

test("raw JSON is laid out, and no token changes", () => {
  const raw = '{"a":[1,{"b": "x,{}\\"y"}],"c":{},"big":18446735281458241536,"n":inf}';
  const out = laidOut(raw);
  assert.ok(out.split("\n").length > 8, out);
  assert.equal(out.replace(/\n */g, "").replace(/": /g, '":'), raw.replace(/": /g, '":'));
  assert.doesNotThrow(() => laidOut(raw.slice(0, 20)));
});

test("a severity that nobody knows is no class name of its own", () => {
  assert.equal(severityClass('x" onclick="'), "severity-debug");
  assert.equal(worse("error", "notice"), "error");
  assert.equal(worse(undefined, "debug"), "debug");
});
