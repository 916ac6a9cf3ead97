/** A record's own JSON: laid out for reading, with every token as the daemon sent it. */

import { element, visible } from "./text.js";

/** What is shown of it at most; the whole is one click further. */
const LONGEST = 20_000;

/**
 * The same text over several lines. Strings and numbers stay as they are, to the digit.
 *
 * @param {string} json
 */
export function laidOut(json) {
  let depth = 0;
  let out = "";
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"?|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    if (token === "{" || token === "[") {
      depth += 1;
      out += `${token}\n${"  ".repeat(Math.min(depth, 40))}`;
    } else if (token === "}" || token === "]") {
      depth = Math.max(0, depth - 1);
      out = /[{[]\s*$/.test(out.slice(-100)) ? out.trimEnd() + token : `${out}\n${"  ".repeat(Math.min(depth, 40))}${token}`;
    } else if (token === ",") {
      out += `,\n${"  ".repeat(Math.min(depth, 40))}`;
    } else {
      out += token === ":" ? ": " : token;
    }
  }
  return out;
}

/**
 * @param {import("./record.js").LogRecord} record
 * @returns {HTMLElement}
 */
export function rawJson(record) {
  const cut = record.raw.length > LONGEST;
  const shown = laidOut(cut ? record.raw.slice(0, LONGEST) : record.raw);
  const lines = shown.split("\n").map(visible).join("\n");
  const whole = record.seq === undefined ? null : element("a", { href: `/api/v1/events/${record.seq}` }, "The record alone");
  return element(
    "div",
    { class: "raw" },
    element("pre", { tabindex: "0", "aria-label": "The record as JSON" }, element("bdi", null, cut ? `${lines}…` : lines)),
    element("p", { class: "raw-more" }, cut ? `The first ${LONGEST} of ${record.raw.length} characters. ` : null, whole),
  );
}
