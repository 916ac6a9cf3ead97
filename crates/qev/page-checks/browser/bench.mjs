// What the page costs in a real browser: first paint, frames while it scrolls and while events come, memory.

import { setTimeout as sleep } from "node:timers/promises";

import { live, openBrowser, openPage } from "./browser.mjs";
import { host } from "./host.mjs";

/** How long frames are counted. */
const SCROLLING = 5000;
const COMING = 30_000;

const context = await openBrowser();
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
  const page = await openPage(context, "#/fleet");
  const memory = await meter(page);
  const placed = await page.waitForFunction((many) => document.querySelectorAll(".tile").length >= many && performance.now(), host.machines ?? 1);
  print("fleet: first paint", await firstPaint(page));
  print("fleet: all tiles placed", `${Math.round(Number(await placed.jsonValue()))} ms`);
  print("fleet: tiles, memory", `${await page.locator(".tile").count()}, ${await memory()}`);
  print("fleet: frames while it scrolls", await frames(page, SCROLLING, true));
  await sleep(COMING);
  print("fleet: memory half a minute later", await memory());
  await page.close();
}

async function stream() {
  const page = await openPage(context, "#/stream");
  const memory = await meter(page);
  const row = await page.waitForFunction(() => document.querySelector(".record") !== null && performance.now());
  print("stream: first paint", await firstPaint(page));
  print("stream: first rows", `${Math.round(Number(await row.jsonValue()))} ms`);
  const bars = await page.waitForFunction(() => document.querySelector(".bars path") !== null && performance.now());
  print("stream: histogram of the last hour", `${Math.round(Number(await bars.jsonValue()))} ms`);
  print("stream: memory", await memory());
  print("stream: frames while 2,000 events a second come", await frames(page, COMING, false));
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
  print("stream: frames while it scrolls", await frames(page, SCROLLING, true));
  await page.close();
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
    const { metrics } = await session.send("Performance.getMetrics");
    const of = (/** @type {string} */ name) => metrics.find((metric) => metric.name === name)?.value ?? Number.NaN;
    return `${(of("JSHeapUsedSize") / 2 ** 20).toFixed(1)} MiB of heap, ${of("Nodes")} nodes`;
  };
}

/**
 * How long frames took.
 *
 * @param {import("playwright-core").Page} page
 * @param {number} length of the measurement, in milliseconds
 * @param {boolean} scrolling
 */
async function frames(page, length, scrolling) {
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
  const sorted = /** @type {number[]} */ (took).toSorted((a, b) => a - b);
  const part = (/** @type {number} */ share) => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN).toFixed(1);
  return `${sorted.length} frames: half within ${part(0.5)} ms, 95 % ${part(0.95)} ms, 99 % ${part(0.99)} ms, the longest ${part(1)} ms`;
}
