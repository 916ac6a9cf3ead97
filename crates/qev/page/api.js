/** Asks the daemon. Nothing here draws. */

import { readJson, readRecord, readRecords } from "./record.js";

/** @typedef {import("./record.js").LogRecord} LogRecord */
/** @typedef {import("./machine-types.js").Machine} Machine */
/** @typedef {import("./machine-types.js").Timeline} Timeline */

/**
 * @typedef {object} Page
 * @property {LogRecord[]} records
 * @property {string[]} problems what cannot be read of the journal
 * @property {number} last the journal's last number when it was asked
 * @property {boolean} more whether there are more behind these
 *
 * @typedef {Record<string, number | string> & {at: string}} Bucket counts by severity
 * @typedef {{from: string, until: string, buckets: Bucket[], complete: boolean, scanned?: number}} Histogram
 *
 * @typedef {{seq: number, why: string}} Joined
 * @typedef {{record: LogRecord, before: LogRecord[], after: LogRecord[], joined: Joined[]}} Context
 *
 * @typedef {object} DiscoveredQemu
 * @property {number} pid
 * @property {string | null} name
 * @property {string | null} manager
 * @property {boolean} attached
 * @property {string} why
 * @property {string | null} attach the line that would attach it
 *
 * @typedef {object} Explanation as `qev explain -o json` prints it
 * @property {string} event
 * @property {string | null} since
 * @property {string | null} until
 * @property {string | null} emitted
 * @property {{name: string, type: string, optional: boolean, since?: string, until?: string, meaning?: string}[]} members
 * @property {string | null} [throttle]
 * @property {string[]} [details]
 * @property {string | null} [dialects]
 * @property {string | null} [advice]
 */

/** An answer of the daemon's that is no success, in its own words. */
export class Problem extends Error {
  /**
   * @param {number} status of HTTP's; 0 when nobody answered
   * @param {string} title
   * @param {string} detail
   */
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }

  /** Whether the page is not let in. */
  get isClosed() {
    return this.status === 401;
  }

  /** Whether asking again later may help. */
  get mayPass() {
    return this.status === 0 || this.status === 429 || this.status >= 502;
  }
}

/** How long an answer may take. */
const PATIENCE = 30_000;

/**
 * @param {string} path below `/api/v1`
 * @param {URLSearchParams} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>}
 */
async function ask(path, query, signal) {
  const asked = query && query.size > 0 ? `${path}?${query}` : path;
  const limit = AbortSignal.timeout(PATIENCE);
  let response;
  try {
    response = await fetch(`/api/v1${asked}`, {
      credentials: "same-origin",
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "no answer", "The daemon does not answer.");
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** @param {Response} response */
async function problemOf(response) {
  const text = await response.text().catch(() => "");
  try {
    const told = /** @type {{title?: string, detail?: string}} */ (JSON.parse(text));
    return new Problem(response.status, told.title ?? response.statusText, told.detail ?? "");
  } catch {
    return new Problem(response.status, response.statusText, text.slice(0, 300));
  }
}

/**
 * @param {URLSearchParams} query filters, and `before`, `after`, `order`, `limit`
 * @param {AbortSignal} [signal]
 * @returns {Promise<Page>}
 */
export async function events(query, signal) {
  const response = await ask("/events", query, signal);
  const { records, problems } = readRecords(await response.text());
  const more = /rel="?next"?/.test(response.headers.get("Link") ?? "");
  return { records, problems, more, last: Number(response.headers.get("Qev-Last") ?? 0) };
}

/**
 * @param {number} seq
 * @param {AbortSignal} [signal]
 * @returns {Promise<LogRecord>}
 */
export async function event(seq, signal) {
  const response = await ask(`/events/${seq}`, undefined, signal);
  return readRecord((await response.text()).trim());
}

/**
 * What stood around a record on its machine, and what belongs to it.
 *
 * @param {number} seq
 * @param {AbortSignal} [signal]
 * @returns {Promise<Context>}
 */
export async function context(seq, signal) {
  const told = /** @type {any} */ (await json(`/events/${seq}/context`, undefined, signal));
  const read = (/** @type {any} */ fields) => ({ ...fields, raw: JSON.stringify(fields), time: Date.parse(fields.received) });
  return {
    record: read(told.record),
    before: (told.before ?? []).map(read),
    after: (told.after ?? []).map(read),
    joined: told.joined ?? [],
  };
}

/**
 * @param {string | undefined} glob of machines' names
 * @param {AbortSignal} [signal]
 * @returns {Promise<{machines: Machine[], last: number}>}
 */
export async function machines(glob, signal) {
  const query = new URLSearchParams(glob === undefined ? {} : { machine: glob });
  return /** @type {any} */ (await json("/machines", query, signal));
}

/**
 * The machines that one of these patterns names.
 *
 * @param {string[]} globs
 * @param {AbortSignal} [signal]
 * @returns {Promise<{machines: Machine[], last: number}>}
 */
export async function machinesNamed(globs, signal) {
  return /** @type {any} */ (await json("/machines", new URLSearchParams(globs.map((glob) => ["machine", glob])), signal));
}

/**
 * Every QEMU on the daemon's host, attached or not.
 *
 * @param {AbortSignal} [signal]
 * @returns {Promise<DiscoveredQemu[]>}
 */
export async function discover(signal) {
  const { qemus } = /** @type {{qemus: DiscoveredQemu[]}} */ (await json("/discover", undefined, signal));
  return qemus;
}

/**
 * @param {string} name
 * @param {URLSearchParams} which `machine_id` or `session` where two share the name
 * @param {AbortSignal} [signal]
 * @returns {Promise<Machine>}
 */
export async function machine(name, which, signal) {
  return /** @type {any} */ (await json(`/machines/${encodeURIComponent(name)}`, which, signal));
}

/**
 * @param {string} name
 * @param {URLSearchParams} query `since`, `until`, `points`
 * @param {AbortSignal} [signal]
 * @returns {Promise<Timeline>}
 */
export async function timeline(name, query, signal) {
  return /** @type {any} */ (await json(`/machines/${encodeURIComponent(name)}/timeline`, query, signal));
}

/**
 * @param {URLSearchParams} query filters, and `buckets`
 * @param {AbortSignal} [signal]
 * @returns {Promise<Histogram>}
 */
export async function histogram(query, signal) {
  return /** @type {any} */ (await json("/histogram", query, signal));
}

/** @type {Promise<Set<string>> | undefined} the events that the daemon can explain */
let catalogue;

async function readCatalogue() {
  const { events: all } = /** @type {{events: {event: string}[]}} */ (await json("/explain"));
  return new Set(all.map((each) => each.event));
}

/**
 * What an event is; nothing when the daemon does not know it.
 *
 * @param {string} name
 * @param {AbortSignal} [signal]
 * @returns {Promise<Explanation | undefined>}
 */
export async function explain(name, signal) {
  catalogue ??= readCatalogue().catch((error) => {
    catalogue = undefined;
    throw error;
  });
  if (!(await catalogue).has(name)) return undefined;
  return /** @type {any} */ (await json(`/explain/${encodeURIComponent(name)}`, undefined, signal));
}

/** Ends the page's own way in. */
export async function logout() {
  await fetch("/api/v1/logout", { method: "POST", credentials: "same-origin" });
}

/**
 * @param {string} path
 * @param {URLSearchParams} [query]
 * @param {AbortSignal} [signal]
 */
async function json(path, query, signal) {
  return readJson(await (await ask(path, query, signal)).text());
}
