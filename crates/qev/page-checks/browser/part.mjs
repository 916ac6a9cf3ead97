// A part of the browser's test. One that fails says right there what a person needs to know why, and the next begins afresh.

import path from "node:path";
import { test as run } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { away, complaints, pages } from "./browser.mjs";
import { PATIENCE, host } from "./host.mjs";

/** How long a part may take. What is asked of a page that stands still has no end of its own. */
const LONGEST = 5 * PATIENCE;

/** How long a page that stands still may take to be looked at. */
const LOOK = 20_000;

/** How much of a page's text is told. */
const TOLD = 1500;

let failures = 0;

/**
 * @param {string} name
 * @param {() => void | Promise<void>} act
 */
export function test(name, act) {
  run(name, async () => {
    try {
      await within(LONGEST, "this part was to end", act());
    } catch (error) {
      failures += 1;
      await tell(name, error);
      away.meant = false;
      throw error;
    }
  });
}

/**
 * @template T
 * @param {number} limit in milliseconds
 * @param {string} what
 * @param {T | Promise<T>} promise
 * @returns {Promise<T>}
 */
async function within(limit, what, promise) {
  const enough = new AbortController();
  const late = sleep(limit, undefined, { signal: enough.signal }).then(() => {
    throw new Error(`${what} within ${limit / 1000} s`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    enough.abort();
  }
}

/** @param {string} name @param {unknown} error */
async function tell(name, error) {
  say(`FAILED: ${name}`, error instanceof Error ? (error.stack ?? error.message) : String(error));
  // The first is the browser's own, and empty.
  for (const [number, page] of [...pages().entries()].slice(1)) {
    const picture = path.join(host.pictures, `failed-${failures}-${number}.png`);
    say(`page ${number}`, page.url());
    say("its status", await looked(page.evaluate(() => document.getElementById("status")?.textContent)));
    say("its text", await looked(page.evaluate((most) => (document.querySelector("main") ?? document.body).innerText.replaceAll(/\s*\n\s*/g, " | ").slice(0, most), TOLD)));
    say("a picture", await looked(page.screenshot({ path: picture, timeout: LOOK }).then(() => picture)));
    await looked(page.close());
  }
  // What was answered here in the daemon's place.
  await looked(Promise.resolve(pages()[0]?.context().unrouteAll({ behavior: "ignoreErrors" })));
  say("complaints on the console", complaints.length > 0 ? complaints.join("\n") : "none");
}

/** @param {Promise<unknown>} look */
function looked(look) {
  return within(LOOK, "the page was to be looked at", look).then(String, (error) => `cannot be had: ${error instanceof Error ? error.message : error}`);
}

/** @param {string} what @param {string} words */
function say(what, words) {
  // A guest's words are among them.
  const plain = words.replaceAll(/[^\n\u0020-\u007e\u00a0-\u2027\u2030-\u205f\u2070-\ufffd]/g, "?");
  process.stderr.write(`| ${what}: ${plain.split("\n").join("\n|   ")}\n`);
}
