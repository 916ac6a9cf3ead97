/**
 * How much of a list is drawn, and how often. Arithmetic; no drawing here.
 *
 *     ┌ rows in sight, and some below ┐ drawn: at the top, while new ones come
 *     │ more rows that are kept       │ drawn when one scrolls to them
 *     └ older ones                    ┘ fetched when one scrolls to them
 *
 * What is drawn again and again must leave time for the rest: after many rows comes a longer rest. So a flood is shown
 * a few times a second, whatever it brings, and a single record at once.
 */

/** The least height of a row, in pixels. */
const LEAST = 26;

/** What is drawn below what is in sight; more than the distance at which older ones are asked for. */
const BELOW = 900;

/** Rows that are drawn at once when one scrolls to them. */
export const STEP = 50;

/** How long a rest is for each row that was drawn, and at most, in milliseconds. */
const REST = 6;
const LONGEST_REST = 300;

/**
 * How many rows are drawn of a list that one looks at from its top.
 *
 * @param {number} height of what is in sight, in pixels
 */
export function rowsNear(height) {
  return Math.ceil((Math.max(0, height) + BELOW) / LEAST);
}

/**
 * How long nothing is drawn after so many rows were.
 *
 * @param {number} rows
 */
export function restAfter(rows) {
  return Math.min(LONGEST_REST, rows * REST);
}
