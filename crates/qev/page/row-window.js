/**
 * The rows of a list that are drawn: from the newest on, as far as one has come.
 *
 * While new ones come at the top only those in sight are kept, and some below; a row that leaves becomes another one
 * where it stands. What is open, and what has the focus, stays itself.
 */

import { keepingFocus } from "./focus.js";
import { STEP, rowsNear } from "./pace.js";
import { RecordRow } from "./record-row.js";
import { element } from "./text.js";

/** @typedef {import("./fold.js").Row} Row */

export class RowWindow {
  /** @type {Map<Row, RecordRow>} those in the document, and open ones that left it */
  #rows = new Map();
  /** @type {Map<Element, RecordRow>} those in the document */
  #places = new Map();

  /** @param {boolean} withMachine */
  constructor(withMachine) {
    this.withMachine = withMachine;
    this.element = element("ol", { class: "records", "aria-label": "Records, newest first" });
  }

  clear() {
    this.#rows.clear();
    this.#places.clear();
    this.element.replaceChildren();
  }

  /** How many are drawn. */
  get drawn() {
    return this.#places.size;
  }

  /**
   * Draws more of them at the end; and those anew that changed.
   *
   * @param {Row[]} rows
   * @param {Set<Row>} [changed]
   */
  further(rows, changed = new Set()) {
    this.#draw(rows, Math.max(this.drawn + STEP, rowsNear(innerHeight)), changed);
  }

  /**
   * Draws the rows that one sees at the top. Gives how many there was something to draw of.
   *
   * @param {Row[]} rows
   * @param {Set<Row>} changed new ones, and those that changed
   */
  fromTop(rows, changed) {
    const focused = this.focused;
    const near = Math.max(rowsNear(innerHeight), focused ? rows.indexOf(focused.row) + 1 : 0);
    return this.#draw(rows, near, changed);
  }

  /**
   * @param {Row[]} rows
   * @param {number} count how many of them
   * @param {Set<Row>} changed
   */
  #draw(rows, count, changed) {
    const wanted = rows.slice(0, count);
    keepingFocus(".record", () => {
      const spare = this.#leaving(new Set(wanted));
      let next = this.element.firstElementChild;
      for (const row of wanted) {
        let drawn = this.#rows.get(row);
        if (!drawn) {
          // One that leaves, and stands here already, or else another one of those.
          const other = next && this.#isAmong(spare, next) ? this.#places.get(next) : spare.values().next().value;
          drawn = other ?? new RecordRow(row, this.withMachine);
          if (other) {
            spare.delete(other);
            this.#rows.delete(other.row);
            other.become(row);
          }
          this.#rows.set(row, drawn);
        } else if (changed.has(row) || !drawn.element.isConnected) {
          drawn.draw();
        }
        this.#places.set(drawn.element, drawn);
        // Those that leave are passed by, so that those that stay need not move.
        while (next && next !== drawn.element && this.#isAmong(spare, next)) next = next.nextElementSibling;
        if (drawn.element === next) next = next.nextElementSibling;
        else this.element.insertBefore(drawn.element, next);
      }
      spare.forEach((drawn) => this.#leave(drawn));
    });
    if (this.#rows.size > this.#places.size) this.#forget(new Set(rows));
    return wanted.filter((row) => changed.has(row)).length;
  }

  /**
   * Those that are not wanted and may become others. What is open, or has the focus, leaves as itself.
   *
   * @param {Set<Row>} wanted
   */
  #leaving(wanted) {
    /** @type {Set<RecordRow>} */
    const spare = new Set();
    const { focused } = this;
    for (const drawn of this.#places.values()) {
      if (wanted.has(drawn.row)) continue;
      if (drawn.isOpen || drawn === focused) this.#leave(drawn);
      else spare.add(drawn);
    }
    return spare;
  }

  /** @param {Set<RecordRow>} spare @param {Element} place */
  #isAmong(spare, place) {
    const drawn = this.#places.get(place);
    return drawn !== undefined && spare.has(drawn);
  }

  /** @param {RecordRow} drawn */
  #leave(drawn) {
    drawn.element.remove();
    this.#places.delete(drawn.element);
    if (!drawn.isOpen) this.#rows.delete(drawn.row);
  }

  /** Lets go of open rows that are not in the list any more. @param {Set<Row>} rows */
  #forget(rows) {
    for (const row of this.#rows.keys()) if (!rows.has(row)) this.#rows.delete(row);
  }

  /** The row that has the focus. */
  get focused() {
    const owner = document.activeElement?.closest(".record");
    return owner ? this.#places.get(owner) : undefined;
  }

  /**
   * Moves the focus up or down. Gives whether more was drawn for it.
   *
   * @param {1 | -1} step
   * @param {Row[]} rows
   */
  move(step, rows) {
    const { focused } = this;
    const all = /** @type {HTMLElement[]} */ ([...this.element.children]);
    if (!focused) {
      this.#stand(all.find((row) => row.getBoundingClientRect().bottom > 120));
      return false;
    }
    const isAtEnd = step > 0 && focused.element === this.element.lastElementChild && this.drawn < rows.length;
    if (isAtEnd) this.further(rows);
    this.#stand(/** @type {HTMLElement | null} */ (step > 0 ? focused.element.nextElementSibling : focused.element.previousElementSibling));
    return isAtEnd;
  }

  /** @param {HTMLElement | null | undefined} row */
  #stand(row) {
    row?.focus({ preventScroll: true });
    row?.scrollIntoView({ block: "nearest" });
  }
}
