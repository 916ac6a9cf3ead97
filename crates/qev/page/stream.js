/**
 * What happens, as it happens, and a connection that comes back by itself.
 *
 *     connecting ──hello──► live ──connection lost──► lost ──after a while──► connecting, after=LAST
 *         │                                            ▲
 *         └──────────────── nobody answers ────────────┘        401: closed, and no more
 *
 * A browser's EventSource gives up when the daemon answers with an error, and does not say which. So it is opened anew
 * here, with the number of the last record that was seen: nothing is missed and nothing comes twice.
 */

import { Problem, events } from "./api.js";
import { readRecord } from "./record.js";

/** @typedef {import("./record.js").LogRecord} LogRecord */
/** @typedef {"connecting" | "live" | "still" | "lost" | "closed"} State `still`: what is shown does not change */

/**
 * @typedef {object} Hello
 * @property {number} last
 * @property {string} version
 * @property {string} host
 * @property {string} started
 *
 * @typedef {object} Listener
 * @property {(record: LogRecord) => void} record
 * @property {() => void} lagged this client was too far behind: what is shown is to be fetched anew
 * @property {(hello: Hello) => void} [hello]
 * @property {(state: State) => void} state
 * @property {(words: string) => void} [problem] a part of the journal cannot be read
 */

/** How long to wait before the connection is tried again, in milliseconds; the last one again and again. */
const WAITS = [300, 1000, 2000, 3000, 5000];

/** A page that nobody sees lets go of its connection after this long: browsers allow six to one daemon. */
const UNSEEN = 60_000;

/** Follows the journal with these filters, from behind `after`. */
export class Stream {
  /** @type {EventSource | undefined} */
  #source;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #unseen;
  #failures = 0;
  #ended = false;

  /**
   * @param {URLSearchParams} query
   * @param {number} after
   * @param {Listener} listener
   */
  constructor(query, after, listener) {
    this.query = query;
    /** The last record that was seen. */
    this.after = after;
    this.listener = listener;
    this.#connect();
    addEventListener("online", this.#now);
    document.addEventListener("visibilitychange", this.#seen);
  }

  /** Listens no longer. */
  end() {
    this.#ended = true;
    clearTimeout(this.#unseen);
    this.#leave();
    removeEventListener("online", this.#now);
    document.removeEventListener("visibilitychange", this.#seen);
  }

  /** No reason to wait until the time is over. */
  #now = () => {
    if (!this.#source) this.#connect();
  };

  #seen = () => {
    clearTimeout(this.#unseen);
    if (document.hidden) this.#unseen = setTimeout(() => this.#leave(), UNSEEN);
    else this.#now();
  };

  #leave() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#source?.close();
    this.#source = undefined;
  }

  #connect() {
    this.#leave();
    this.listener.state("connecting");
    const query = new URLSearchParams(this.query);
    query.set("after", String(this.after));
    const source = new EventSource(`/api/v1/stream?${query}`);
    this.#source = source;
    source.addEventListener("hello", (event) => {
      this.#failures = 0;
      const hello = /** @type {Hello} */ (JSON.parse(event.data));
      if (hello.last < this.after) {
        // Another journal: what was seen is not in it.
        this.after = hello.last;
        this.listener.lagged();
      }
      this.listener.state("live");
      this.listener.hello?.(hello);
    });
    source.addEventListener("record", (event) => {
      const record = readRecord(event.data);
      if (record.seq !== undefined) {
        if (record.seq <= this.after) return;
        this.after = record.seq;
      }
      this.listener.record(record);
    });
    source.addEventListener("lagged", (event) => {
      const { to } = /** @type {{to: number}} */ (JSON.parse(event.data));
      this.after = Math.max(this.after, to);
      this.listener.lagged();
    });
    source.addEventListener("problem", (event) => {
      this.listener.problem?.(String(/** @type {{problem: unknown}} */ (JSON.parse(event.data)).problem));
    });
    source.addEventListener("bye", () => this.#lost());
    source.addEventListener("error", () => this.#lost());
  }

  #lost() {
    if (this.#ended) return;
    this.#leave();
    this.listener.state("lost");
    const wait = WAITS[Math.min(this.#failures, WAITS.length - 1)] ?? 5000;
    this.#failures += 1;
    this.#timer = setTimeout(() => void this.#tryAgain(), wait * (0.8 + 0.4 * Math.random()));
  }

  /** Asks first whether we are let in, for the stream itself does not tell why it failed. */
  async #tryAgain() {
    try {
      await events(new URLSearchParams({ limit: "1" }));
    } catch (error) {
      if (this.#ended) return;
      if (error instanceof Problem && error.isClosed) this.listener.state("closed");
      else this.#lost();
      return;
    }
    if (!this.#ended) this.#connect();
  }
}
