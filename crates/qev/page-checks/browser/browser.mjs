// A browser, its pages, and what is noted of them: nothing may be complained of on the console.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { chromium } from "playwright-core";

import { PATIENCE, host } from "./host.mjs";

/** As root Chromium needs the first; the others keep it from asking anybody but the daemon. */
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** What the browser itself says on the console when an answer is an error or does not come. */
const NETWORK = /^Failed to load resource/;

/** @type {string[]} */
export const complaints = [];

/** Whether the daemon is meant to be away, or to let nobody in. */
export const away = { meant: false };

/** @type {import("playwright-core").BrowserContext | undefined} */
let browser;

/** Those that are open. */
export function pages() {
  return browser?.pages() ?? [];
}

/** @returns {Promise<import("playwright-core").BrowserContext>} */
export async function openBrowser() {
  const context = await chromium.launchPersistentContext(host.profile, {
    executablePath: host.chromium,
    headless: true,
    args: ARGUMENTS,
    viewport: { width: 1280, height: 900 },
    colorScheme: "light",
    reducedMotion: "reduce",
    timeout: PATIENCE,
  });
  browser = context;
  context.setDefaultTimeout(PATIENCE);
  return context;
}

/**
 * A page at this address.
 *
 * @param {import("playwright-core").BrowserContext} context
 * @param {string} address behind the origin
 */
export async function openPage(context, address) {
  const page = await context.newPage();
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type()) || (away.meant && NETWORK.test(message.text()))) return;
    complaints.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error.stack ?? error.message}`));
  page.on("dialog", (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await page.goto(address.startsWith("http") ? address : `${host.origin}/${address}`);
  return page;
}

/**
 * Shows another address, from the beginning: what is there then is no rest of what was shown before.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} address behind the origin
 */
export async function show(page, address) {
  await page.goto("about:blank");
  await page.goto(`${host.origin}/${address}`);
}

/**
 * Presses keys that belong together, with no time between them.
 *
 * @param {import("playwright-core").Page} page
 * @param {...string} keys
 */
export async function together(page, ...keys) {
  await Promise.all(keys.map((key) => page.keyboard.press(key)));
}

/**
 * @param {import("playwright-core").Page} page
 * @returns {Promise<void>}
 */
export async function live(page) {
  await page.locator('#status[data-state="live"]').waitFor();
}

/**
 * The sentences of the rows, from the top, without how often.
 *
 * @param {import("playwright-core").Page} page
 */
export function sentences(page) {
  return page.locator(".record .sentence > a, .record .sentence > bdi").allTextContents();
}

/**
 * How many records all rows stand for.
 *
 * @param {import("playwright-core").Page} page
 * @returns {Promise<number>}
 */
export function recordsShown(page) {
  return page.locator(".record").evaluateAll((rows) =>
    rows.reduce((sum, row) => {
      const often = /×([\d,]+)/.exec(row.querySelector(".often")?.textContent ?? "")?.[1];
      return sum + (often ? Number(often.replaceAll(",", "")) : 1);
    }, 0),
  );
}

/**
 * Texts whose colour is too near to that behind them (WCAG AA: 4.5, or 3 where they are large).
 *
 * @param {import("playwright-core").Page} page
 * @returns {Promise<string[]>}
 */
export function hardToRead(page) {
  return page.evaluate(() => {
    const canvas = document.createElement("canvas");
    canvas.width = 1;
    canvas.height = 1;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    /** @param {string} colour */
    const rgba = (colour) => {
      if (!pen) throw new Error("no canvas");
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = colour;
      pen.fillRect(0, 0, 1, 1);
      return [...pen.getImageData(0, 0, 1, 1).data];
    };
    /** @param {number[]} colour */
    const luminance = (colour) => {
      const [r = 0, g = 0, b = 0] = colour.slice(0, 3).map((value) => {
        const part = value / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    /** @param {Element | null} element @returns {number[]} */
    const ground = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = rgba(getComputedStyle(at).backgroundColor);
        if ((colour[3] ?? 0) > 250) return colour;
      }
      return [255, 255, 255, 255];
    };
    const bad = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (!element || !walker.currentNode.textContent?.trim() || !element.checkVisibility({ visibilityProperty: true })) continue;
      if (element.closest(".unseen, svg, option, noscript")) continue;
      const style = getComputedStyle(element);
      const [a, b] = [luminance(rgba(style.color)), luminance(ground(element))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const large = Number.parseFloat(style.fontSize) >= 18.66;
      if (contrast < (large ? 3 : 4.5)) bad.add(`${element.className || element.tagName}: ${contrast.toFixed(2)} (${style.color})`);
    }
    return [...bad];
  });
}

/**
 * Whether something reaches beyond the right edge, so that the page scrolls sideways.
 *
 * @param {import("playwright-core").Page} page
 */
export function scrollsSideways(page) {
  return page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
}

/**
 * Elements and controls that must have a name for who does not see them, and have none.
 *
 * @param {import("playwright-core").Page} page
 */
export function nameless(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll("button, a[href], input, select, [role=img], section[aria-labelledby], nav")]
      .filter((element) => {
        if (element.closest("[hidden]")) return false;
        const labelled = element.getAttribute("aria-labelledby");
        const label = element.getAttribute("aria-label") ?? (labelled && document.getElementById(labelled)?.textContent);
        const of = element instanceof HTMLInputElement || element instanceof HTMLSelectElement ? element.labels?.[0]?.textContent : "";
        const inside = element.querySelector("[aria-label], title, text");
        return !(label || of || element.textContent?.trim() || inside);
      })
      .map((element) => element.outerHTML.slice(0, 200)),
  );
}

/** The rules of axe-core: WCAG 2.2 up to AA, and what its authors hold good practice. */
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/**
 * What axe-core finds wrong for people who use a screen reader or the keyboard: the rule, and the first element that breaks it.
 *
 * @param {import("playwright-core").Page} page
 * @returns {Promise<string[]>}
 */
export async function violations(page) {
  // Not as a script element, which the page's content security policy refuses.
  await page.evaluate(AXE);
  return page.evaluate(async (rules) => {
    const { axe } = /** @type {any} */ (globalThis);
    const { violations: found } = await axe.run(document, { runOnly: rules, resultTypes: ["violations"] });
    return found.map((/** @type {any} */ rule) => `${rule.id} (${rule.nodes.length}): ${rule.nodes[0].html.slice(0, 300)}`);
  }, RULES);
}
