/**
 * Folds what says the same again and again into one row: "×37 in 4 min".
 *
 *     newest                                        oldest
 *     bad  STOP  bad   bad            bad
 *     └────────────┴────┘              └─ a row of its own: more than 5 minutes lie between
 *        one row, ×3, where the newest stands
 *
 * Whether two records fold depends on them and their times alone, never on when or in which pages they came. So a
 * list that grew while somebody looked is the same as one that was loaded at once.
 */

/** @typedef {import("./record.js").LogRecord} LogRecord */

/**
 * @typedef {object} Row
 * @property {string} key
 * @property {LogRecord} newest
 * @property {number} oldest when the oldest of them came, in milliseconds
 * @property {number | undefined} oldestSeq
 * @property {LogRecord[]} records newest first, at most {@link KEPT} of them
 * @property {number} count
 */

/** Longer than this between two, and they are two rows. */
export const APART = 5 * 60 * 1000;

/** How many records a row keeps to show when it is opened; the others are counted. */
export const KEPT = 50;

/**
 * What two records have in common when they fold, or nothing when one never folds: gaps and what became of a machine
 * stand for themselves.
 *
 * @param {LogRecord} record
 */
export function foldingKey(record) {
  if (record.kind !== "event") return undefined;
  // Amounts and places differ; names with a number in them, and slots, are others.
  const sentence = record.summary.slice(0, 500).replace(/(?<![\p{L}\p{N}_.-]|slot )\d+(?:\.\d+)?(?![\p{L}\p{N}_])/gu, "#");
  return [record.machine, record.session ?? "", record.event, record.severity, sentence].join("\n");
}

/** Rows of a list, newest first. */
export class Rows {
  constructor() {
    /** @type {Row[]} */
    this.rows = [];
    /** How many records all rows stand for. */
    this.records = 0;
    /** @type {Map<string, Row>} the newest row of each key */
    this.first = new Map();
    /** @type {Map<string, Row>} the oldest row of each key */
    this.last = new Map();
  }

  /**
   * Takes records, newest first, each older than the newest of its kind that is here; what is here already is passed
   * over. Gives the rows that are new and those that grew.
   *
   * @param {LogRecord[]} records
   * @returns {{added: Row[], changed: Set<Row>}}
   */
  appendOlder(records) {
    /** @type {Row[]} */
    const added = [];
    /** @type {Set<Row>} */
    const changed = new Set();
    for (const record of records) {
      const key = foldingKey(record) ?? aloneKey(record);
      const row = this.last.get(key);
      if (row && record.seq !== undefined && row.oldestSeq !== undefined && record.seq >= row.oldestSeq) continue;
      if (row && row.oldest - record.time <= APART) {
        row.count += 1;
        row.oldest = record.time;
        row.oldestSeq = record.seq;
        if (row.records.length < KEPT) row.records.push(record);
        changed.add(row);
      } else {
        const made = rowOf(record, key);
        this.last.set(key, made);
        if (!row) this.first.set(key, made);
        added.push(made);
      }
      this.records += 1;
    }
    this.rows.push(...added);
    return { added, changed };
  }

  /**
   * Takes a record that is newer than all that are here. Gives its row, which is the first now.
   *
   * @param {LogRecord} record
   * @returns {{row: Row, grew: boolean}}
   */
  prependNewer(record) {
    const key = foldingKey(record) ?? aloneKey(record);
    const row = this.first.get(key);
    this.records += 1;
    if (row && record.time - row.newest.time <= APART) {
      this.rows.splice(this.rows.indexOf(row), 1);
      this.rows.unshift(row);
      row.newest = record;
      row.count += 1;
      row.records.unshift(record);
      if (row.records.length > KEPT) row.records.pop();
      return { row, grew: true };
    }
    const made = rowOf(record, key);
    this.first.set(key, made);
    if (!row) this.last.set(key, made);
    this.rows.unshift(made);
    return { row: made, grew: false };
  }

  /**
   * Takes a row away.
   *
   * @param {Row} row
   */
  remove(row) {
    const at = this.rows.indexOf(row);
    if (at < 0) return;
    this.rows.splice(at, 1);
    this.#forget(row);
  }

  /**
   * Lets go of the oldest rows beyond this many. Gives those that went.
   *
   * @param {number} most
   * @returns {Row[]}
   */
  trimOldest(most) {
    const gone = this.rows.splice(most);
    for (const row of gone.toReversed()) this.#forget(row);
    return gone;
  }

  /** @param {Row} row */
  #forget(row) {
    this.records -= row.count;
    if (this.first.get(row.key) === row && this.last.get(row.key) === row) {
      this.first.delete(row.key);
      this.last.delete(row.key);
      return;
    }
    const others = this.rows.filter((other) => other.key === row.key);
    const [first] = others;
    const last = others.at(-1);
    if (first && last) {
      this.first.set(row.key, first);
      this.last.set(row.key, last);
    } else {
      this.first.delete(row.key);
      this.last.delete(row.key);
    }
  }
}

/** @param {LogRecord} record */
function aloneKey(record) {
  return `alone ${record.seq ?? record.raw}`;
}

/**
 * @param {LogRecord} record
 * @param {string} key
 * @returns {Row}
 */
function rowOf(record, key) {
  return { key, newest: record, oldest: record.time, oldestSeq: record.seq, records: [record], count: 1 };
}
