/**
 * A record as the daemon writes it, and how its text is read.
 *
 * QEMU's JSON is not quite JSON: it prints `inf`, and integers that a number of JavaScript's cannot hold. So both are
 * read as text, and the line itself is kept: what is shown as "raw" is what the daemon sent, to the byte.
 */

/**
 * @typedef {"debug" | "info" | "notice" | "warning" | "error" | "critical"} Severity
 *
 * @typedef {object} Fields
 * @property {number} [seq] its place in the journal; absent while it is not on disk
 * @property {string} kind `event`, `attached`, `detached`, `gap` or `state`
 * @property {string} [host]
 * @property {string} machine empty for what is about the journal itself
 * @property {string} [machine_id]
 * @property {string} [session]
 * @property {number} [uid] whose process the monitor is, of `attached`
 * @property {string} received RFC 3339, with microseconds
 * @property {Severity} severity
 * @property {string} summary
 * @property {string} [event]
 * @property {{seconds: number, microseconds: number}} [timestamp]
 * @property {Record<string, unknown>} [data]
 * @property {string} [reason]
 * @property {string} [from]
 * @property {string} [until]
 * @property {Record<string, number>} [missed]
 * @property {boolean} [durable]
 * @property {string} [via]
 * @property {string[]} [departs]
 *
 * @typedef {Fields & {raw: string, time: number}} LogRecord `time` is `received` in milliseconds
 */

/** Whether a record is about one machine, and not about the journal itself. @param {{machine: string}} record */
export function isOfMachine({ machine }) {
  return machine !== "";
}

/** A string, which is kept, or a number that JavaScript has no place for. */
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\b(?:inf|nan)\b|-?\d{16,}(?:\.\d+)?(?:[eE][-+]?\d+)?/g;
const ODD = /\d{16}|\b(?:inf|nan)\b/;

/**
 * Reads JSON as QEMU writes it. Numbers that would lose digits come as text.
 *
 * @param {string} text
 * @returns {unknown}
 */
export function readJson(text) {
  if (!ODD.test(text)) return JSON.parse(text);
  return JSON.parse(text.replace(TOKENS, (token) => (token.startsWith('"') || isExact(token) ? token : `"${token}"`)));
}

/** @param {string} number */
function isExact(number) {
  return String(Number(number)) === number;
}

/**
 * Reads a line of JSON Lines.
 *
 * @param {string} line
 * @returns {LogRecord}
 */
export function readRecord(line) {
  const fields = /** @type {Fields} */ (readJson(line));
  return { ...fields, raw: line, time: Date.parse(fields.received) };
}

/**
 * Reads a page of JSON Lines: a record a line, or what cannot be read of the journal.
 *
 * @param {string} text
 * @returns {{records: LogRecord[], problems: string[]}}
 */
export function readRecords(text) {
  /** @type {{records: LogRecord[], problems: string[]}} */
  const read = { records: [], problems: [] };
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const record = readRecord(line);
    const { problem } = /** @type {{problem?: unknown}} */ (/** @type {unknown} */ (record));
    if (record.kind === undefined && problem !== undefined) read.problems.push(String(problem));
    else read.records.push(record);
  }
  return read;
}

/**
 * Which record this is. One that is not on disk yet has no number; when it comes again with one, what it says is the same.
 *
 * @param {Fields} record
 */
export function sameness(record) {
  return `${record.machine}\n${record.session ?? ""}\n${record.kind}\n${record.event ?? ""}\n${record.received}`;
}

/**
 * What happened, in QEMU's word or in ours.
 *
 * @param {Fields} record
 */
export function nameOf(record) {
  return record.event ?? record.kind;
}
