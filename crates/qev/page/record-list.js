/**
 * A list of records that does not grow with the history: at most {@link MOST} rows, the newest of which may go on
 * coming, and a button for older ones. Rows are drawn when one comes near them (row-window.js).
 *
 *     pending ──(not held)──► rows, newest first ──► "older" ──► a page before the oldest
 *        └── held (paused, or scrolled away): "12 new"             └ beyond MOST: a list of its own, from there
 */

import { events } from "./api.js";
import { Rows } from "./fold.js";
import { counted, grouped } from "./numbers.js";
import { restAfter } from "./pace.js";
import { sameness } from "./record.js";
import { RowWindow } from "./row-window.js";
import { element, foreign } from "./text.js";

/** @typedef {import("./record.js").LogRecord} LogRecord */
/** @typedef {import("./fold.js").Row} Row */

/** Rows on the page. */
export const MOST = 1000;

/** Records that wait while the list is held, to be shown at once; beyond it they are counted, and fetched when wanted. */
const WAITING = 2000;

/** When more than that came, how long from one page that is fetched anew to the next, in milliseconds. */
const APART = 1000;

/** Pages that are fetched without being asked for, when all of them fold into what is there: then a click is awaited. */
const BY_ITSELF = 5;

/** Records of one request. */
const PAGE = 200;

export class RecordList {
  rows = new Rows();
  /** @type {LogRecord[]} */
  #pending = [];
  #waiting = 0;
  #frame = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #resting;
  /** Before this nothing is drawn again. */
  #rested = 0;
  #paused = false;
  /** @type {AbortController | undefined} */
  #asking;
  /** The number before which the older ones are. */
  #oldest = Infinity;
  /** Whether the journal has older ones than the rows. */
  #more = false;
  /** Up to which number all that meets the filters is in the rows, or was. */
  #known = 0;
  #loaded = -Infinity;
  #byItself = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} set while the newest page is to be fetched anew */
  #again;
  /** @type {Map<string, Row>} rows of records that are not on disk yet */
  #notKept = new Map();

  /**
   * @param {object} options
   * @param {URLSearchParams} options.query filters
   * @param {boolean} options.withMachine
   * @param {(text: string) => void} options.announce
   * @param {(error: unknown) => void} options.failed
   * @param {boolean} [options.heldByScrolling]
   * @param {() => void} [options.empty] called when the list has no record at all; {@link RecordList.words} may say why
   */
  constructor({ query, withMachine, announce, failed, heldByScrolling = true, empty }) {
    this.query = query;
    this.announce = announce;
    this.failed = failed;
    this.heldByScrolling = heldByScrolling;
    this.empty = empty;
    this.window = new RowWindow(withMachine);
    this.fresh = element("button", { type: "button", class: "fresh", hidden: true, click: () => this.release() });
    this.older = element("button", { type: "button", class: "older", hidden: true, click: () => void this.#older() }, "Older records");
    this.problems = element("p", { class: "cut", role: "alert", hidden: true });
    this.words = element("p", { class: "list-words" });
    this.element = element("div", { class: "record-list" }, element("div", { class: "fresh-place" }, this.fresh), this.problems, this.window.element, this.words, this.older);
    this.nearEnd = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && void this.#older(true), { rootMargin: "600px" });
    this.nearEnd.observe(this.older);
    if (heldByScrolling) addEventListener("scroll", this.#scrolled, { passive: true });
  }

  end() {
    this.#asking?.abort();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#resting);
    clearTimeout(this.#again);
    this.nearEnd.disconnect();
    removeEventListener("scroll", this.#scrolled);
  }

  /**
   * Loads the newest page. Gives the journal's last number, from which to follow.
   *
   * @param {number} [before] the newest before this number
   * @returns {Promise<number>}
   */
  async load(before) {
    this.#asking?.abort();
    this.#asking = new AbortController();
    const query = this.#asked(before);
    const page = await events(query, this.#asking.signal);
    this.#asking = undefined;
    const came = this.#pending;
    const dropped = this.#waiting - came.length;
    this.#clear();
    this.#known = Math.max(page.last, page.records[0]?.seq ?? 0);
    this.#loaded = performance.now();
    this.#append(page.records, page.more);
    this.#lookAnew();
    page.problems.forEach(this.problem);
    if (before === undefined) {
      // What came meanwhile is in the page, or it is newer.
      this.#pending = came.filter(({ seq }) => seq === undefined || seq > this.#known);
      this.#waiting = this.#pending.length + dropped;
      if (this.#waiting > 0) this.#turnSoon();
    }
    return this.#known;
  }

  /** Says that a part of the journal cannot be read: the rows are not all there was. */
  problem = (/** @type {string} */ words) => {
    this.problems.hidden = false;
    this.problems.replaceChildren("A part of the journal cannot be read: ", foreign(words, 300));
  };

  /** @param {number} [before] */
  #asked(before) {
    const query = new URLSearchParams(this.query);
    query.set("limit", String(PAGE));
    if (before !== undefined && Number.isFinite(before)) query.set("before", String(before));
    return query;
  }

  #clear() {
    this.rows = new Rows();
    this.window.clear();
    this.#notKept.clear();
    this.#pending = [];
    this.#waiting = 0;
    this.#oldest = Infinity;
    this.problems.hidden = true;
    this.#showFresh();
  }

  /** @param {LogRecord[]} records @param {boolean} more */
  #append(records, more) {
    const { changed } = this.rows.appendOlder(records);
    this.#oldest = Math.min(this.#oldest, records.at(-1)?.seq ?? Infinity);
    this.#more = more;
    this.window.further(this.rows.rows, changed);
    this.#say();
  }

  #say() {
    const { rows, records } = this.rows;
    this.older.hidden = !this.#more && this.window.drawn >= rows.length;
    if (rows.length === 0) {
      this.words.textContent = this.older.hidden ? "No records." : "";
      if (this.older.hidden) this.empty?.();
    } else this.words.textContent = this.older.hidden ? `That is all: ${counted(records, "record")}.` : "";
    this.older.textContent = rows.length >= MOST && this.window.drawn >= rows.length ? "Go on with older records" : "Older records";
  }

  /** The end may still be near: that is told only when it changes, or anew. */
  #lookAnew() {
    this.nearEnd.unobserve(this.older);
    this.nearEnd.observe(this.older);
  }

  /** @param {boolean} [byItself] because the end came near */
  async #older(byItself = false) {
    if (this.#asking || this.older.hidden) return;
    const { rows } = this.rows;
    if (this.window.drawn < rows.length) {
      this.window.further(rows);
      this.#say();
      this.#lookAnew();
      return;
    }
    const before = this.#oldest;
    if (!Number.isFinite(before)) return;
    const full = rows.length >= MOST;
    if (byItself && (full || this.#byItself >= BY_ITSELF)) return;
    this.#byItself = byItself ? this.#byItself + 1 : 0;
    try {
      if (full) {
        this.pause(true);
        await this.load(before);
        this.#waiting = Math.max(this.#waiting, 1);
        this.#showFresh();
        scrollTo({ top: 0 });
        return;
      }
      this.#asking = new AbortController();
      const page = await events(this.#asked(before), this.#asking.signal);
      // When rows at the end were let go of meanwhile, this is not what comes after them.
      if (this.#oldest === before) {
        const had = rows.length;
        this.#append(page.records, page.more);
        if (rows.length > had) this.#byItself = 0;
        page.problems.forEach(this.problem);
      }
      this.#lookAnew();
    } catch (error) {
      this.failed(error);
    } finally {
      this.#asking = undefined;
    }
  }

  /**
   * A record that came just now.
   *
   * @param {LogRecord} record
   */
  add(record) {
    if (record.seq !== undefined && record.seq <= this.#known) return;
    this.#waiting += 1;
    if (this.#pending.length < WAITING) this.#pending.push(record);
    this.#turnSoon();
  }

  /** Shows what waits in the next frame, or after the rest that is due. */
  #turnSoon() {
    if (this.#frame !== 0 || this.#resting !== undefined) return;
    const draw = () => {
      this.#resting = undefined;
      this.#frame = requestAnimationFrame(() => this.#turn());
    };
    const rest = this.#rested - performance.now();
    if (rest > 0) this.#resting = setTimeout(draw, rest);
    else draw();
  }

  /** @param {number} rows so many were drawn */
  #rest(rows) {
    this.#rested = performance.now() + restAfter(rows);
  }

  get #held() {
    return this.#paused || (this.heldByScrolling && this.window.element.getBoundingClientRect().top < -40);
  }

  #turn() {
    this.#frame = 0;
    if (this.#held) this.#showFresh();
    else this.#show();
  }

  /** Fetches the newest page anew. What comes meanwhile waits. */
  #anew() {
    this.#pending = [];
    this.#waiting = 0;
    const fetch = async () => {
      try {
        await this.load();
      } catch (error) {
        this.failed(error);
      }
      this.#again = undefined;
      if (this.#waiting > 0) this.#turnSoon();
    };
    this.#again = setTimeout(() => void fetch(), Math.max(0, this.#loaded + APART - performance.now()));
  }

  /** Shows what waited; when that was more than is kept, the newest page is fetched anew. */
  #show() {
    if (this.#again !== undefined) return;
    if (this.#waiting > this.#pending.length) {
      this.#anew();
      return;
    }
    /** @type {Set<Row>} */
    const touched = new Set();
    for (const record of this.#pending) {
      this.#replaceNotKept(record);
      const { row } = this.rows.prependNewer(record);
      if (record.seq === undefined) this.#notKept.set(sameness(record), row);
      touched.add(row);
    }
    if (this.#notKept.size > MOST) this.#notKept.clear();
    this.#pending = [];
    this.#waiting = 0;
    for (const row of this.rows.trimOldest(MOST)) {
      this.#oldest = Math.max(this.#oldest, (row.newest.seq ?? -1) + 1);
      this.#more = true;
    }
    this.#rest(this.window.fromTop(this.rows.rows, touched));
    this.#showFresh();
    this.#say();
  }

  /**
   * What was shown before it was on disk comes again once it is.
   *
   * @param {LogRecord} record
   */
  #replaceNotKept(record) {
    if (record.seq === undefined || this.#notKept.size === 0) return;
    const row = this.#notKept.get(sameness(record));
    if (!row) return;
    this.#notKept.delete(sameness(record));
    this.rows.remove(row);
  }

  #showFresh() {
    const count = this.#waiting;
    this.fresh.hidden = count === 0;
    const words = `${grouped(count)} new`;
    if (count > 0 && this.fresh.textContent !== words) {
      this.fresh.textContent = words;
      this.announce(words);
      // It is read, and said to who listens: not more often than that.
      this.#rest(Infinity);
    }
  }

  #scrolled = () => {
    if (this.#waiting > 0 && !this.#held) this.#turnSoon();
  };

  get paused() {
    return this.#paused;
  }

  /** @param {boolean} paused */
  pause(paused) {
    this.#paused = paused;
    if (!paused) this.#turn();
    this.element.dispatchEvent(new CustomEvent("paused", { bubbles: true }));
  }

  /** Shows all that waits, from the top. */
  release() {
    this.#paused = false;
    scrollTo({ top: 0 });
    if (this.#waiting > 0) this.#show();
    this.element.dispatchEvent(new CustomEvent("paused", { bubbles: true }));
  }

  /** What is shown is not whole any more: everything anew, when nobody holds it. */
  stale() {
    this.#waiting += WAITING + 1;
    this.#turnSoon();
  }

  /**
   * Moves the focus up or down the list.
   *
   * @param {1 | -1} step
   */
  move(step) {
    if (this.window.move(step, this.rows.rows)) this.#say();
  }

  /** The row that has the focus. */
  get focused() {
    return this.window.focused;
  }
}
