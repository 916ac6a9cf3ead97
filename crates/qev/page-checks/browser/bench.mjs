// What the page costs in a real browser: first paint, frames while it scrolls and while events come, memory. Frames stand
// beside those of a plain page of the same origin, measured under the same load: the ratio holds, times do not. What a
// frame takes of the processor is told too: it changes least with what else the machine does.

import { setTimeout as sleep } from "node:timers/promises";

import { live, openBrowser, openPage } from "./browser.mjs";
import { host } from "./host.mjs";

/** How long frames are counted. */
const SCROLLING = 5000;
const COMING = 30_000;

/** What a page costs that does nothing: a line of text for each machine. */
const PLAIN = `<!doctype html><title>plain</title>${"<p>a machine, and what it said last</p>".repeat(host.machines ?? 1)}`;

/**
 * @typedef {object} Frames how long they took, in milliseconds
 * @property {number} count
 * @property {number} half
 * @property {number} most 95 % of them
 * @property {number} nearlyAll 99 % of them
 * @property {number} longest
 * @property {number} work what each took of the processor, in the page's main thread
 */

const context = await openBrowser();
await context.route(`${host.origin}/plain`, (route) => route.fulfill({ contentType: "text/html", body: PLAIN }));
const first = await openPage(context, host.address);
await live(first);
await first.close();

await fleet();
await stream();
await context.close();

/** @param {string} what @param {string} measured */
function print(what, measured) {
  process.stdout.write(`${what.padEnd(58)} ${measured}\n`);
}

async function fleet() {
  const plain = await plainFrames(SCROLLING, true);
  const page = await openPage(context, "#/fleet");
  const memory = await meter(page);
  // Only the tiles near what is in sight are in the document; each says of how many it is one.
  const placed = await page.waitForFunction((many) => Number(document.querySelector(".tile")?.getAttribute("aria-setsize")) >= many && performance.now(), host.machines ?? 1);
  print("fleet: first paint", await firstPaint(page));
  print("fleet: first tiles", `${Math.round(Number(await placed.jsonValue()))} ms`);
  const tiles = page.locator(".tile");
  print("fleet: machines, tiles, memory", `${await tiles.first().getAttribute("aria-setsize")}, ${await tiles.count()}, ${await memory()}`);
  beside("fleet: frames while it scrolls", await frames(page, SCROLLING, true), plain);
  await sleep(COMING);
  print("fleet: memory half a minute later", await memory());
  await page.close();
}

async function stream() {
  const plain = await plainFrames(SCROLLING, false);
  const page = await openPage(context, "#/stream");
  const memory = await meter(page);
  const row = await page.waitForFunction(() => document.querySelector(".record") !== null && performance.now());
  print("stream: first paint", await firstPaint(page));
  print("stream: first rows", `${Math.round(Number(await row.jsonValue()))} ms`);
  const bars = await page.waitForFunction(() => document.querySelector(".bars path") !== null && performance.now());
  print("stream: histogram of the last hour", `${Math.round(Number(await bars.jsonValue()))} ms`);
  print("stream: memory", await memory());
  beside("stream: frames while 2,000 events a second come", await frames(page, COMING, false), plain);
  print("stream: rows, memory after it", `${await page.locator(".record").count()}, ${await memory()}`);
  await page.keyboard.press("p");
  // Far back in the history: page after page of older records.
  for (let turn = 0; turn < 60; turn += 1) {
    await page.evaluate(() => scrollTo({ top: document.documentElement.scrollHeight }));
    await sleep(60);
    await page.locator(".older").evaluate((button) => /** @type {HTMLElement} */ (button).click());
    await sleep(60);
  }
  print("stream: rows, memory after 60 pages of older records", `${await page.locator(".record").count()}, ${await memory()}`);
  beside("stream: frames while it scrolls", await frames(page, SCROLLING, true), await plainFrames(SCROLLING, true));
  await page.close();
}

/** @param {string} what @param {Frames} measured @param {Frames} plain */
function beside(what, measured, plain) {
  const said = (/** @type {Frames} */ { count, half, most, nearlyAll, longest, work }) =>
    `${count} frames: half within ${half.toFixed(1)} ms, 95 % ${most.toFixed(1)} ms, 99 % ${nearlyAll.toFixed(1)} ms, the longest ${longest.toFixed(1)} ms; ${work.toFixed(1)} ms of CPU each`;
  print("a plain page instead", said(plain));
  print(what, said(measured));
  print("  times a plain page", `half ${(measured.half / plain.half).toFixed(1)}, 95 % ${(measured.most / plain.most).toFixed(1)}`);
}

/**
 * What the machine, with all that goes on, leaves to a page that does nothing.
 *
 * @param {number} length
 * @param {boolean} scrolling
 */
async function plainFrames(length, scrolling) {
  const page = await openPage(context, `${host.origin}/plain`);
  const measured = await frames(page, length, scrolling);
  await page.close();
  return measured;
}

/** @param {import("playwright-core").Page} page */
async function firstPaint(page) {
  const at = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? Number.NaN);
  return `${Math.round(at)} ms`;
}

/**
 * What the page keeps, after what it does not need was collected.
 *
 * @param {import("playwright-core").Page} page
 */
async function meter(page) {
  const session = await context.newCDPSession(page);
  await session.send("Performance.enable");
  return async () => {
    await session.send("HeapProfiler.collectGarbage");
    return `${((await metric(session, "JSHeapUsedSize")) / 2 ** 20).toFixed(1)} MiB of heap, ${await metric(session, "Nodes")} nodes`;
  };
}

/** @param {import("playwright-core").CDPSession} session @param {string} name */
async function metric(session, name) {
  const { metrics } = await session.send("Performance.getMetrics");
  return metrics.find((each) => each.name === name)?.value ?? Number.NaN;
}

/**
 * How long frames took.
 *
 * @param {import("playwright-core").Page} page
 * @param {number} length of the measurement, in milliseconds
 * @param {boolean} scrolling
 * @returns {Promise<Frames>}
 */
async function frames(page, length, scrolling) {
  const session = await context.newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const worked = await metric(session, "TaskDuration");
  const took = await page.evaluate(
    ([lasting, moves]) =>
      new Promise((resolve) => {
        /** @type {number[]} */
        const times = [];
        let before = performance.now();
        const end = before + Number(lasting);
        const frame = () => {
          const now = performance.now();
          times.push(now - before);
          before = now;
          if (moves) {
            scrollBy({ top: 240, behavior: "instant" });
            if (scrollY + innerHeight >= document.documentElement.scrollHeight - 2) scrollTo({ top: 0 });
          }
          if (now < end) requestAnimationFrame(frame);
          else resolve(times);
        };
        requestAnimationFrame(frame);
      }),
    [length, scrolling],
  );
  const work = (((await metric(session, "TaskDuration")) - worked) * 1000) / /** @type {number[]} */ (took).length;
  await session.detach();
  const sorted = /** @type {number[]} */ (took).toSorted((a, b) => a - b);
  const part = (/** @type {number} */ share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { count: sorted.length, half: part(0.5), most: part(0.95), nearlyAll: part(0.99), longest: part(1), work };
}
