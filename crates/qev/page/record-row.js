/** One row of a list of records: the sentence first; how often, what else and the raw JSON one click away. */

import { eventLink, machineLink } from "./links.js";
import { rawJson } from "./raw.js";
import { nameOf } from "./record.js";
import { severityClass, shape } from "./severity.js";
import { element, foreign, label } from "./text.js";
import { clockWithMilliseconds, dayAndClock, lasting } from "./time.js";
import { grouped } from "./numbers.js";

/** @typedef {import("./record.js").LogRecord} LogRecord */
/** @typedef {import("./fold.js").Row} Row */

/** @param {string} severity */
export function severityMark(severity) {
  return element(
    "span",
    { class: `mark ${severityClass(severity)}` },
    element("span", { class: "shape", "aria-hidden": "true" }, shape(severity)),
    element("span", null, severity),
  );
}

/** @param {LogRecord} record */
function timeOf(record) {
  return element("time", { datetime: record.received, title: `${record.received}` }, clockWithMilliseconds(record.time));
}

/** @param {LogRecord} record */
export function sentence(record) {
  const words = foreign(record.summary, 240);
  return record.seq === undefined ? words : element("a", { href: eventLink(record.seq) }, words);
}

/**
 * How often, and in how long: `×37 in 4 min`.
 *
 * @param {Row} row
 */
export function often(row) {
  return `×${grouped(row.count)} in ${lasting(Math.abs(row.newest.time - row.oldest))}`;
}

/** A row on the page, and what is open in it. */
export class RecordRow {
  #open = false;
  #raw = false;

  /** @param {Row} row @param {boolean} withMachine whether to say which machine it was */
  constructor(row, withMachine) {
    this.row = row;
    this.withMachine = withMachine;
    this.element = element("li", { tabindex: "-1" });
    this.draw();
  }

  draw() {
    const { row } = this;
    const record = row.newest;
    const kind = record.kind === "event" ? "" : ` of-${/^[a-z]+$/.test(record.kind) ? record.kind : "another-kind"}`;
    this.element.className = `record ${severityClass(record.severity)}${kind}`;
    this.element.dataset.seq = String(record.seq ?? "");
    const folded =
      row.count > 1 &&
      element("button", { type: "button", class: "often", "aria-expanded": String(this.#open), title: "Show them", click: () => this.toggle() }, often(row));
    this.element.replaceChildren(
      timeOf(record),
      severityMark(record.severity),
      this.withMachine ? element("a", { class: "machine", href: machineLink(record) }, foreign(record.machine, 60)) : "",
      element("span", { class: "sentence" }, sentence(record), folded, record.durable === false && notKept()),
      element("code", { class: "name" }, foreign(nameOf(record), 60)),
      element(
        "button",
        { type: "button", class: "raw-button", "aria-expanded": String(this.#raw), "aria-label": `Raw JSON of ${label(nameOf(record))}`, title: "Raw JSON", click: () => this.toggleRaw() },
        "{ }",
      ),
    );
    if (record.kind === "gap") this.element.append(this.#gap(record));
    if (this.#open) this.element.append(this.#members());
    if (this.#raw) this.element.append(rawJson(record));
  }

  /** Shows or hides what is folded into this row. */
  toggle() {
    this.#open = !this.#open;
    this.draw();
    /** @type {HTMLElement | null} */ (this.element.querySelector("button.often"))?.focus();
  }

  toggleRaw() {
    this.#raw = !this.#raw;
    this.draw();
    /** @type {HTMLElement | null} */ (this.element.querySelector("button.raw-button"))?.focus();
  }

  #members() {
    const { records, count } = this.row;
    const left = count - records.length;
    return element(
      "ol",
      { class: "members" },
      records.map((record) => element("li", null, timeOf(record), " ", sentence(record))),
      left > 0 && element("li", null, `and ${grouped(left)} older ones`),
    );
  }

  /** @param {LogRecord} record */
  #gap(record) {
    const from = record.from ? dayAndClock(Date.parse(record.from)) : "?";
    const until = record.until ? clockWithMilliseconds(Date.parse(record.until)) : "?";
    const missed = Object.entries(record.missed ?? {}).map(([event, count]) => [" ", foreign(event, 60), ` ×${count}`]);
    return element("p", { class: "gap-words" }, `Nothing is known of ${from} to ${until}.`, missed.length > 0 && " Missed:", ...missed.flat());
  }
}

function notKept() {
  return element("span", { class: "not-kept", title: "The journal could not be written yet." }, "not on disk yet");
}
