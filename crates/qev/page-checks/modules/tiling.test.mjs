// Where the tiles of a fleet stand, and which are drawn.

import assert from "node:assert/strict";
import { test } from "node:test";

import { heightOf, placeOf, tiling, worthDrawing } from "../../page/tiling.js";

const EM = 16;
const SCREEN = 900;

test("as many columns as fit share the width, and there is always one", () => {
  for (const [width, columns] of /** @type {const} */ ([[0, 1], [200, 1], [560, 2], [1248, 4], [1568, 5]])) {
    const tiles = tiling(width, EM);
    assert.equal(tiles.columns, columns, `${width}`);
    const last = placeOf(tiles, columns - 1);
    assert.equal(Math.round(last.left + tiles.width), Math.max(0, width), `${width}: the last ends where the whole does`);
    assert.equal(last.top, 0);
    assert.deepEqual(placeOf(tiles, columns), { left: 0, top: tiles.down });
  }
});

test("the whole is as tall as its lines", () => {
  const tiles = tiling(1248, EM);
  assert.deepEqual([0, 1, 4].map((count) => heightOf(tiles, count)), [0, tiles.height, tiles.height]);
  assert.equal(heightOf(tiles, 5), tiles.down + tiles.height);
});

test("whatever is in sight is drawn, wherever one scrolls, and never more than three screens of it", () => {
  for (const count of [0, 1, 3, 40, 2000]) {
    for (const width of [328, 1248]) {
      const tiles = tiling(width, EM);
      const most = 3 * (Math.ceil(SCREEN / tiles.down) + 1) * tiles.columns;
      for (let top = -3 * SCREEN; top < heightOf(tiles, count) + 2 * SCREEN; top += 37) {
        const [from, until] = worthDrawing(tiles, count, top, top + SCREEN);
        assert.ok(from >= 0 && from <= until && until <= count, `${from} to ${until} of ${count}`);
        assert.ok(until - from <= most, `${until - from} tiles at ${top}`);
        for (let index = 0; index < count; index += 1) {
          const place = placeOf(tiles, index);
          const isInSight = place.top < top + SCREEN && place.top + tiles.height > top;
          if (isInSight) assert.ok(index >= from && index < until, `${index} is not drawn at ${top}`);
        }
      }
    }
  }
});

test("what is far away is not drawn", () => {
  const tiles = tiling(1248, EM);
  assert.deepEqual(worthDrawing(tiles, 2000, -5 * SCREEN, -4 * SCREEN), [0, 0]);
  const [from, until] = worthDrawing(tiles, 2000, 20_000, 20_000 + SCREEN);
  assert.ok(from > 500 && until < 1000);
});
