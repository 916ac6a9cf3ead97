/** One row of a list of records: the sentence first; how often, what else and the raw JSON one click away. */

import { eventLink, machineLink } from "./links.js";
import { rawJson } from "./raw.js";
import { isOfMachine, nameOf } from "./record.js";
import { Said } from "./said.js";
import { severityClass, shape } from "./severity.js";
import { element, fillForeign, foreign, label } from "./text.js";
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

/** What is shown of a sentence at most, in characters. */
const LONGEST = 240;

/** @param {LogRecord} record */
function timeOf(record) {
  return fillTime(element("time"), record);
}

/** @param {HTMLTimeElement} time @param {LogRecord} record */
function fillTime(time, record) {
  time.setAttribute("datetime", record.received);
  time.setAttribute("title", record.received);
  time.textContent = clockWithMilliseconds(record.time);
  return time;
}

/** @param {LogRecord} record */
export function sentence(record) {
  const words = foreign(record.summary, LONGEST);
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

/** A row on the page, and what is open in it. What it says is changed where it is: that is quicker than making it anew. */
export class RecordRow {
  #open = false;
  #raw = false;
  #said = new Said();
  /** @type {HTMLElement[]} what stands below its line */
  #below = [];

  /** @param {Row} row @param {boolean} withMachine whether to say which machine it was */
  constructor(row, withMachine) {
    this.row = row;
    this.withMachine = withMachine;
    this.time = element("time");
    this.mark = severityMark("debug");
    this.machine = element("a", { class: "machine" });
    this.words = foreign("");
    this.link = element("a");
    this.sentence = element("span", { class: "sentence" });
    this.often = element("button", { type: "button", class: "often", title: "Show them", click: () => this.toggle() });
    this.name = element("code", { class: "name" });
    this.rawButton = element("button", { type: "button", class: "raw-button", title: "Raw JSON", click: () => this.toggleRaw() }, "{ }");
    this.element = element("li", { tabindex: "-1" }, this.time, this.mark, withMachine && this.machine, this.sentence, this.name, this.rawButton);
    this.draw();
  }

  /** Whether something is open that one would have to open again. */
  get isOpen() {
    return this.#open || this.#raw;
  }

  /**
   * Is another row from now on, where it stands.
   *
   * @param {Row} row
   */
  become(row) {
    this.row = row;
    this.#open = false;
    this.#raw = false;
    this.draw();
  }

  draw() {
    const { row } = this;
    const said = this.#said;
    const record = row.newest;
    const kind = record.kind === "event" ? "" : ` of-${/^[a-z]+$/.test(record.kind) ? record.kind : "another-kind"}`;
    said.tell("class", `record ${severityClass(record.severity)}${kind}`, (name) => (this.element.className = name));
    said.tell("seq", String(record.seq ?? ""), (seq) => (this.element.dataset.seq = seq));
    said.tell("time", record.received, () => fillTime(this.time, record));
    said.tell("severity", record.severity, (severity) => {
      const mark = severityMark(severity);
      this.mark.replaceWith(mark);
      this.mark = mark;
    });
    if (this.withMachine) {
      said.tell("machine", machineLink(record), (address) => {
        if (isOfMachine(record)) this.machine.setAttribute("href", address);
        else this.machine.removeAttribute("href");
        this.machine.replaceChildren(isOfMachine(record) ? foreign(record.machine, 60) : "the journal");
      });
    }
    this.#say(record);
    said.tell("name", nameOf(record), (name) => {
      this.name.replaceChildren(foreign(name, 60));
      this.rawButton.setAttribute("aria-label", `Raw JSON of ${label(name)}`);
    });
    said.tell("raw", String(this.#raw), (isOpen) => this.rawButton.setAttribute("aria-expanded", isOpen));
    this.#below.forEach((part) => part.remove());
    this.#below = [];
    if (record.kind === "gap") this.#below.push(this.#gap(record));
    if (this.#open) this.#below.push(this.#members());
    if (this.#raw) this.#below.push(rawJson(record));
    this.element.append(...this.#below);
  }

  /** The sentence, and what else is said beside it. @param {LogRecord} record */
  #say(record) {
    const said = this.#said;
    const isFolded = this.row.count > 1;
    const isKept = record.durable !== false;
    const address = record.seq === undefined ? "" : eventLink(record.seq);
    const parts = `${address !== ""} ${isFolded} ${isKept}`;
    said.tell("parts", parts, () => {
      this.link.replaceChildren(this.words);
      this.sentence.replaceChildren(address === "" ? this.words : this.link, isFolded ? this.often : "", isKept ? "" : notKept());
    });
    said.tell("address", address, () => this.link.setAttribute("href", address));
    said.tell("sentence", record.summary, (words) => fillForeign(this.words, words, LONGEST));
    if (isFolded) said.tell("often", often(this.row), (words) => (this.often.textContent = words));
    said.tell("open", String(this.#open), (isOpen) => this.often.setAttribute("aria-expanded", isOpen));
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
