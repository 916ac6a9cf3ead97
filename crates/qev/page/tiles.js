/**
 * The tiles of a list of machines, of which only those near what is in sight are in the document: it takes as long to
 * scroll through ten thousand as through ten. Each says which of how many it is, so who does not see the page knows.
 *
 * The one that has the focus stays wherever it is.
 */

import { FleetTile, keyOf } from "./fleet-tile.js";
import { keepingFocus } from "./focus.js";
import { element } from "./text.js";
import { heightOf, placeOf, tiling, worthDrawing } from "./tiling.js";

/** @typedef {import("./machine-types.js").Machine} Machine */

export class Tiles {
  /** @type {Machine[]} */
  #machines = [];
  /** @type {string[]} what tells each of them from the others */
  #keys = [];
  /** @type {Map<string, number>} */
  #places = new Map();
  /** @type {Map<string, FleetTile>} those in the document */
  #drawn = new Map();
  #tiling = tiling(0, 16);
  #from = 0;
  #until = 0;

  /** @param {(name: string) => boolean} isShared whether more than one machine has this name */
  constructor(isShared) {
    this.isShared = isShared;
    this.element = element("ul", { class: "tiles", "aria-label": "Machines, the worst first" });
    this.widths = new ResizeObserver(() => this.#sized());
    this.widths.observe(this.element);
    addEventListener("scroll", this.#scrolled, { passive: true });
    addEventListener("resize", this.#scrolled, { passive: true });
  }

  end() {
    this.widths.disconnect();
    removeEventListener("scroll", this.#scrolled);
    removeEventListener("resize", this.#scrolled);
  }

  /** @param {Machine[]} machines in their order */
  show(machines) {
    this.#machines = machines;
    this.#places = new Map();
    this.#keys = machines.map((machine, index) => {
      let key = keyOf(machine);
      while (this.#places.has(key)) key += "\nanother";
      this.#places.set(key, index);
      return key;
    });
    this.#place();
    const now = Date.now();
    for (const [key, tile] of this.#drawn) this.#fill(tile, machines[this.#places.get(key) ?? -1], now);
  }

  /**
   * Says anew what is known of a machine, if it is drawn.
   *
   * @param {Machine} machine
   */
  draw(machine) {
    const tile = this.#drawn.get(keyOf(machine));
    if (tile) this.#fill(tile, machine, Date.now());
  }

  /** @param {FleetTile} tile @param {Machine | undefined} machine @param {number} now */
  #fill(tile, machine, now) {
    if (machine) tile.draw(machine, this.isShared(machine.machine), now);
  }

  #sized() {
    const em = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.#tiling = tiling(this.element.clientWidth, em);
    this.#place();
  }

  #scrolled = () => {
    const [from, until] = this.#worthDrawing();
    if (from !== this.#from || until !== this.#until) this.#place();
  };

  #worthDrawing() {
    const { top } = this.element.getBoundingClientRect();
    return worthDrawing(this.#tiling, this.#machines.length, -top, innerHeight - top);
  }

  /** Which of the list has the focus; -1 when none has. */
  get #focused() {
    const owner = document.activeElement?.closest(".tile");
    if (!owner) return -1;
    for (const [key, tile] of this.#drawn) if (tile.element === owner) return this.#places.get(key) ?? -1;
    return -1;
  }

  /**
   * Puts what is worth drawing where it belongs, in the order of the list, and takes the rest away.
   *
   * @param {number} [also] one more
   */
  #place(also = -1) {
    const { length } = this.#machines;
    this.element.style.height = `${heightOf(this.#tiling, length)}px`;
    [this.#from, this.#until] = this.#worthDrawing();
    const wanted = new Set([this.#focused, also].filter((index) => index >= 0 && index < length));
    for (let index = this.#from; index < this.#until; index += 1) wanted.add(index);
    keepingFocus(".tile", () => this.#arrange([...wanted].toSorted((a, b) => a - b)));
  }

  /** @param {number[]} wanted */
  #arrange(wanted) {
    const keys = new Set(wanted.map((index) => this.#keys[index] ?? ""));
    /** Those that are not wanted any more become others; they are out of the way first, or all others had to move. */
    const spare = [...this.#drawn].filter(([key]) => !keys.has(key)).map(([, tile]) => tile);
    for (const { element: left } of spare) left.remove();
    /** @type {Map<string, FleetTile>} */
    const drawn = new Map();
    const now = Date.now();
    for (const index of wanted) {
      const key = this.#keys[index] ?? "";
      const known = this.#drawn.get(key);
      const tile = known ?? spare.pop() ?? new FleetTile();
      if (!known) this.#fill(tile, this.#machines[index], now);
      tile.place(placeOf(this.#tiling, index), this.#tiling, index + 1, this.#machines.length);
      drawn.set(key, tile);
    }
    this.#drawn = drawn;
    let next = this.element.firstElementChild;
    for (const { element: tile } of drawn.values()) {
      if (tile === next) next = next.nextElementSibling;
      else this.element.insertBefore(tile, next);
    }
  }

  /**
   * Moves the focus to the next machine, or to the one before.
   *
   * @param {1 | -1} step
   */
  move(step) {
    const at = this.#focused;
    const to = at < 0 ? 0 : at + step;
    if (to < 0 || to >= this.#machines.length) return;
    this.#place(to);
    this.#drawn.get(this.#keys[to] ?? "")?.link.focus();
  }
}
