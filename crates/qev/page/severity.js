/** How much a record matters: told by a word and a shape, never by colour alone. */

/** @typedef {import("./record.js").Severity} Severity */

/** @type {readonly Severity[]} from the least */
export const SEVERITIES = ["debug", "info", "notice", "warning", "error", "critical"];

/** @type {Readonly<Record<Severity, string>>} */
const SHAPES = { debug: "·", info: "○", notice: "◇", warning: "▲", error: "◆", critical: "■" };

/**
 * @param {string | undefined} severity
 * @returns {number} higher is worse; below all when it is none of ours
 */
export function rank(severity) {
  return SEVERITIES.indexOf(/** @type {Severity} */ (severity));
}

/**
 * @template {string | undefined} S
 * @param {S} a
 * @param {S} b
 * @returns {S}
 */
export function worse(a, b) {
  return rank(b) > rank(a) ? b : a;
}

/** @param {string | undefined} severity */
export function shape(severity) {
  return SHAPES[/** @type {Severity} */ (severity)] ?? "·";
}

/**
 * What goes into a class name: one of ours, whatever was sent.
 *
 * @param {string | undefined} severity
 */
export function severityClass(severity) {
  return `severity-${rank(severity) < 0 ? "debug" : severity}`;
}
