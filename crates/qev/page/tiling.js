/**
 * Where the tiles of a fleet stand, and which of them are worth drawing. Arithmetic; no drawing here.
 *
 *     ┌ 0 ┐ ┌ 1 ┐ ┌ 2 ┐   above: only their room
 *     ├ 3 ┤ ├ 4 ┤ ├ 5 ┤ ┐
 *     ├ 6 ┤ ├ 7 ┤ ├ 8 ┤ │ in sight, and as much again on either side: drawn
 *     ├ 9 ┤ ├10 ┤ ├11 ┤ ┘
 *     └12 ┘               below: only their room
 */

/** What a tile takes, as multiples of the letters' size. All are of one height, or their places were not known. */
export const LEAST_WIDTH = 17;
export const HEIGHT = 6.2;
export const GAP = 0.6;

/**
 * @typedef {object} Tiling lengths in pixels
 * @property {number} columns
 * @property {number} width of a tile
 * @property {number} height of a tile
 * @property {number} across from one column to the next
 * @property {number} down from one line to the next
 */

/**
 * As many columns as fit, which share what is there.
 *
 * @param {number} width of the whole
 * @param {number} em the size of the letters
 * @returns {Tiling}
 */
export function tiling(width, em) {
  const gap = GAP * em;
  const columns = Math.max(1, Math.floor((width + gap) / (LEAST_WIDTH * em + gap)));
  const across = (width + gap) / columns;
  return { columns, width: Math.max(0, across - gap), height: HEIGHT * em, across, down: HEIGHT * em + gap };
}

/**
 * @param {Tiling} tiles
 * @param {number} index
 * @returns {{left: number, top: number}}
 */
export function placeOf(tiles, index) {
  return { left: (index % tiles.columns) * tiles.across, top: Math.floor(index / tiles.columns) * tiles.down };
}

/**
 * How tall so many are together.
 *
 * @param {Tiling} tiles
 * @param {number} count
 */
export function heightOf(tiles, count) {
  const lines = Math.ceil(count / tiles.columns);
  return lines === 0 ? 0 : lines * tiles.down - (tiles.down - tiles.height);
}

/**
 * Which are in sight between two heights, and as much again on either side, so that there is something already where
 * one scrolls to: from the first, until before the second number.
 *
 * @param {Tiling} tiles
 * @param {number} count
 * @param {number} top of what is in sight; negative while the tiles begin below that
 * @param {number} bottom
 * @returns {[number, number]}
 */
export function worthDrawing(tiles, count, top, bottom) {
  const margin = Math.max(0, bottom - top);
  const first = Math.floor((top - margin) / tiles.down) * tiles.columns;
  const end = Math.ceil((bottom + margin) / tiles.down) * tiles.columns;
  const from = Math.min(count, Math.max(0, first));
  return [from, Math.min(count, Math.max(from, end))];
}
