/** A record: its sentence, what it means, its members, what stood around it, and what caused it or came of it. */

import { context, event as askEvent, explain } from "./api.js";
import { keepingFocus } from "./focus.js";
import { eventLink, literally, machineLink, streamLink } from "./links.js";
import { isOfMachine, nameOf } from "./record.js";
import { rawJson } from "./raw.js";
import { sentence, severityMark } from "./record-row.js";
import { severityClass } from "./severity.js";
import { Stream } from "./stream.js";
import { asText, element, foreign, label } from "./text.js";
import { clockWithMilliseconds, dayAndClock, lasting } from "./time.js";

/** @typedef {import("./record.js").LogRecord} LogRecord */
/** @typedef {import("./api.js").Explanation} Explanation */
/** @typedef {import("./api.js").Context} Context */
/** @typedef {import("./view.js").Shell} Shell */
/** @typedef {import("./view.js").View} View */

/** What the kinds are that QEMU does not send. */
const KINDS = /** @type {Readonly<Record<string, string>>} */ ({
  attached: "qev has the monitor of this machine from here on.",
  detached: "qev has the monitor no longer; the reason says what became of the machine, as far as that can be known.",
  gap: "Events may be missing: between these two times nobody listened, or something was dropped.",
  state: "What the machine said when it was asked on attach.",
});

/** How many records stand behind it at most. */
const NEAR = 5;

/** @implements {View} */
export class EventView {
  #ended = new AbortController();
  /** @type {LogRecord | undefined} */
  #record;
  /** @type {Stream | undefined} */
  #stream;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** How many stand behind it. */
  near = 0;

  /** @param {Shell} shell @param {number} seq */
  constructor(shell, seq) {
    this.shell = shell;
    this.seq = seq;
    this.title = `Record ${seq}`;
    this.element = element("div", { class: "event", "aria-busy": "true" }, element("h1", null, `Record ${seq}`));
    this.keys = [
      { keys: "j", does: "older record of this machine", act: () => this.#go(this.older) },
      { keys: "k", does: "newer record of this machine", act: () => this.#go(this.newer) },
      { keys: "m", does: "its machine", act: () => this.#record && isOfMachine(this.#record) && shell.go(machineLink(this.#record)) },
    ];
    void this.#begin();
  }

  end() {
    this.#ended.abort();
    clearTimeout(this.#timer);
    this.#stream?.end();
  }

  /** What comes after it, as long as that stands near. @param {LogRecord} record @param {number} after */
  #follow(record, after) {
    const again = () => {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        void this.#begin();
      }, 1000);
    };
    if (!isOfMachine(record)) return;
    this.#stream ??= new Stream(new URLSearchParams({ machine: literally(record.machine) }), after, {
      record: () => this.near < NEAR && again(),
      lagged: again,
      hello: this.shell.hello,
      state: this.shell.connection,
    });
  }

  /** @param {number | undefined} seq */
  #go(seq) {
    if (seq !== undefined) this.shell.go(eventLink(seq));
  }

  async #begin() {
    const { signal } = this.#ended;
    try {
      const [record, around] = await Promise.all([askEvent(this.seq, signal), context(this.seq, signal)]);
      const explained = record.event === undefined ? undefined : await explain(record.event, signal).catch(() => undefined);
      const missing = around.joined.filter(({ seq }) => ![...around.before, ...around.after].some((other) => other.seq === seq)).slice(0, 8);
      const elsewhere = await Promise.all(missing.map(({ seq }) => askEvent(seq, signal).catch(() => undefined)));
      if (signal.aborted) return;
      this.#record = record;
      keepingFocus("div.event", () => this.#draw(record, around, elsewhere.filter((other) => other !== undefined), explained));
      this.#follow(record, Math.max(this.seq, ...around.after.map(({ seq }) => seq ?? 0)));
    } catch (error) {
      if (signal.aborted) return;
      this.element.removeAttribute("aria-busy");
      this.shell.failed(error, () => this.#begin());
    }
  }

  /**
   * @param {LogRecord} record
   * @param {Context} around
   * @param {LogRecord[]} elsewhere what is joined to it and does not stand near
   * @param {Explanation | undefined} explained
   */
  #draw(record, around, elsewhere, explained) {
    const seqs = (/** @type {LogRecord[]} */ records) => records.flatMap(({ seq }) => (seq === undefined ? [] : [seq]));
    this.older = Math.max(...seqs(around.before).filter((seq) => seq < this.seq), -1);
    this.newer = Math.min(...seqs(around.after).filter((seq) => seq > this.seq), Infinity);
    if (this.older < 0) this.older = undefined;
    if (this.newer === Infinity) this.newer = undefined;
    this.near = around.after.length;
    this.element.removeAttribute("aria-busy");
    this.element.replaceChildren(
      element(
        "header",
        { class: `event-head ${severityClass(record.severity)}` },
        element("p", { class: "event-over" }, severityMark(record.severity), element("code", null, foreign(nameOf(record), 80)), isOfMachine(record) ? element("a", { href: machineLink(record) }, foreign(record.machine, 80)) : element("span", null, "the journal")),
        element("h1", null, foreign(record.summary, 1000)),
        this.#facts(record),
      ),
      element(
        "div",
        { class: "event-parts" },
        element("div", null, this.#meaning(record, explained), this.#members(record, explained), this.#versions(explained)),
        element("div", null, this.#around(record, around, elsewhere), raw(record)),
      ),
    );
    document.title = `${label(nameOf(record))} – qev`;
  }

  /** @param {LogRecord} record */
  #facts(record) {
    const happened = record.timestamp && record.timestamp.seconds >= 0 ? record.timestamp.seconds * 1000 + record.timestamp.microseconds / 1000 : undefined;
    const facts = [
      ["received", dayAndClock(record.time) + clockWithMilliseconds(record.time).slice(8)],
      ["happened, QEMU says", happened === undefined ? "" : `${clockWithMilliseconds(happened)}${Math.abs(record.time - happened) > 2000 ? ` (${lasting(Math.abs(record.time - happened))} before)` : ""}`],
      ["number", record.seq === undefined ? "not on disk yet" : String(record.seq)],
      ["host", record.host ?? ""],
      ["session", record.session ?? ""],
      ["user", record.uid === undefined ? "" : String(record.uid)],
      ["via", record.via ?? ""],
      ["reason", record.reason ?? ""],
      ["from", record.from ?? ""],
      ["until", record.until ?? ""],
    ];
    return element("dl", { class: "facts" }, ...facts.filter(([, value]) => value).map(([name, value]) => element("div", null, element("dt", null, name), element("dd", null, foreign(value, 200)))));
  }

  /** @param {LogRecord} record @param {Explanation | undefined} explained */
  #meaning(record, explained) {
    if (!explained) return part("What it means", element("p", null, KINDS[record.kind] ?? "qev does not know this event. It is kept as QEMU sent it."));
    return part(
      "What it means",
      explained.emitted && element("p", null, "Emitted when ", foreign(explained.emitted, 2000), "."),
      ...(explained.details ?? []).map((text) => element("p", null, foreign(text, 2000))),
      explained.advice && element("h3", null, "What to do"),
      explained.advice && element("p", null, foreign(explained.advice, 2000)),
    );
  }

  /**
   * @param {LogRecord} record
   * @param {Context} around
   * @param {LogRecord[]} elsewhere
   */
  #around(record, around, elsewhere) {
    const why = new Map(around.joined.map((joined) => [joined.seq, joined.why]));
    const all = [...around.before, ...elsewhere, record, ...around.after].toSorted((a, b) => (b.seq ?? 0) - (a.seq ?? 0));
    const rows = all.map((other) => {
      const joined = other.seq === undefined ? undefined : why.get(other.seq);
      const self = other.seq === record.seq;
      return element(
        "li",
        { class: `near ${severityClass(other.severity)}${self ? " is-this" : ""}${joined ? " is-joined" : ""}`, "aria-current": self ? "true" : null },
        element("time", { datetime: other.received, title: other.received }, clockWithMilliseconds(other.time)),
        severityMark(other.severity),
        element("span", { class: "sentence" }, self ? foreign(other.summary) : sentence(other), joined && element("span", { class: "why" }, foreign(joined, 200))),
        element("code", { class: "name" }, foreign(nameOf(other), 60)),
      );
    });
    const nearby = element("ol", { class: "nearby", "aria-label": "Newest first" }, rows);
    if (!isOfMachine(record)) return part("Before and after, of the journal itself", nearby);
    return part("Before and after, on this machine", nearby, element("p", null, element("a", { href: streamLink({ machine: [literally(record.machine)] }) }, "All of this machine")));
  }

  /** @param {LogRecord} record @param {Explanation | undefined} explained */
  #members(record, explained) {
    const data = record.data ?? {};
    const info = typeof data.info === "object" && data.info !== null ? /** @type {Record<string, unknown>} */ (data.info) : {};
    const known = explained?.members ?? [];
    const inner = known.some(({ name }) => name !== "info" && name in info && !(name in data));
    /** @type {Record<string, unknown>} */
    const values = inner ? { ...data, ...info } : data;
    if (inner) delete values.info;
    const names = [...known.map(({ name }) => name), ...Object.keys(values).filter((name) => !known.some((member) => member.name === name))];
    if (names.length === 0) return part("Members", element("p", null, "It has none."));
    const rows = names.slice(0, 200).map((name) => {
      const member = known.find((each) => each.name === name);
      const absent = !(name in values);
      return element(
        "tr",
        { class: absent ? "is-absent" : null },
        element("th", { scope: "row" }, element("code", null, foreign(name, 80))),
        element("td", null, absent ? "absent" : element("code", null, foreign(asText(values[name]), 600))),
        element("td", null, member ? element("code", null, foreign(member.type, 80)) : "", member?.since ? ` since ${member.since}` : ""),
        element("td", null, member?.meaning ? foreign(member.meaning, 1000) : ""),
      );
    });
    const head = ["member", "value", "type", "meaning"].map((name) => element("th", { scope: "col" }, name));
    return part("Members", element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Members" }, element("table", null, element("thead", null, element("tr", null, head)), element("tbody", null, rows))));
  }

  /** @param {Explanation | undefined} explained */
  #versions(explained) {
    if (!explained) return "";
    const versions = [explained.since ? `QEMU ${explained.since} and later` : "all versions of QEMU", explained.until ? `until ${explained.until}` : ""].filter(Boolean).join(", ");
    return part("Which QEMU sends it", element("p", null, foreign(versions, 200), "."), element("p", null, explained.throttle ? foreign(explained.throttle, 500) : "Never throttled: each one is sent."), explained.dialects && element("p", null, foreign(explained.dialects, 1000)));
  }
}

/** @param {LogRecord} record */
function raw(record) {
  return part("As the daemon has it", rawJson(record));
}

/** @param {string} title @param {...import("./text.js").Child} content */
function part(title, ...content) {
  return element("section", { class: "part" }, element("h2", null, title), ...content);
}
