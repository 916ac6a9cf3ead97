/** A machine: what it is and does now, what happened to it in lanes over time, its disk, and its records. */

import { Problem, events, machine as askMachine, timeline as askTimeline } from "./api.js";
import { diskStrips } from "./disk-strips.js";
import { keepingFocus } from "./focus.js";
import { lanes } from "./lanes.js";
import { ANY_NAME, eventLink, literally, machineLink, streamLink } from "./links.js";
import { counted, size } from "./numbers.js";
import { RecordList } from "./record-list.js";
import { severityMark } from "./record-row.js";
import { severityClass } from "./severity.js";
import { looks, runStateWords, stateWords } from "./state-words.js";
import { Stream } from "./stream.js";
import { element, foreign, label, shortened } from "./text.js";
import { MINUTE, ago, dayAndClock } from "./time.js";

/** @typedef {import("./machine-types.js").Machine} Machine */
/** @typedef {import("./view.js").Shell} Shell */
/** @typedef {import("./view.js").View} View */

const RANGES = ["-15min", "-1h", "-6h", "-1d", "-7d"];
const USUAL = "-1h";

/** Of a machine that came this lately the shortest range shows all. */
const LATELY = 13 * MINUTE;
const POINTS = "800";

/** Lanes are drawn anew this long after something happened, at most; and by themselves, for time goes on. */
const REDRAW = 1000;
const BY_ITSELF = 15_000;

/** @implements {View} */
export class MachineView {
  /** @type {Stream | undefined} */
  #stream;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #at = 0;
  #ended = new AbortController();
  /** @type {number | undefined} when its first record of the last hour came */
  #first;
  #offered = "none";

  /** @param {Shell} shell @param {string} name @param {URLSearchParams} address */
  constructor(shell, name, address) {
    this.shell = shell;
    this.name = name;
    this.since = address.get("since") ?? "";
    this.until = address.get("until") || "";
    this.which = new URLSearchParams();
    for (const key of ["machine_id", "session"]) {
      const value = address.get(key);
      if (value) this.which.set(key, value);
    }
    this.title = shortened(name, 60);
    this.head = element("header", { class: "machine-head" }, element("h1", null, foreign(name, 200)));
    this.ranges = element("nav", { "aria-label": "Time", class: "ranges" });
    this.drawn = element("div", { class: "machine-drawn", "aria-busy": "true" });
    this.query = new URLSearchParams({ machine: literally(name) });
    this.list = new RecordList({ query: this.query, withMachine: false, announce: shell.announce, failed: shell.failed });
    this.element = element(
      "div",
      { class: "machine" },
      this.head,
      element("section", { class: "timeline", "aria-labelledby": "timeline-title" }, element("h2", { id: "timeline-title" }, "Timeline"), this.ranges, this.drawn),
      element("section", { "aria-labelledby": "records-title" }, element("h2", { id: "records-title" }, "Records"), this.list.element),
    );
    this.keys = [
      { keys: "j", does: "next record", act: () => this.list.move(1) },
      { keys: "k", does: "record before", act: () => this.list.move(-1) },
      { keys: "Enter", does: "open the record", act: () => this.#open() },
      { keys: "r", does: "raw JSON of the record", act: () => this.list.focused?.toggleRaw() },
      { keys: "p", does: "pause, go on", act: () => (this.list.paused ? this.list.release() : this.list.pause(true)) },
      { keys: "/", does: "filter this machine's records", act: () => shell.go(streamLink({ machine: this.query.getAll("machine") })) },
    ];
    void this.#begin();
  }

  /** Asks for a machine whose name is too long for an address, and goes on with what it is called. */
  async #name() {
    if (this.name !== ANY_NAME) return;
    const { machine } = await askMachine(this.name, this.which, this.#ended.signal);
    this.query.set("machine", literally(machine));
    document.title = `${label(machine)} – qev`;
  }

  end() {
    this.#ended.abort();
    clearTimeout(this.#timer);
    this.#stream?.end();
    this.list.end();
  }

  #open() {
    const seq = this.list.focused?.row.newest.seq;
    if (seq !== undefined) this.shell.go(eventLink(seq));
  }

  async #begin() {
    try {
      await this.#name();
      const [last] = await Promise.all([this.list.load(), this.#draw()]);
      if (this.#ended.signal.aborted) return;
      this.#stream = new Stream(this.query, last, {
        record: (record) => {
          this.list.add(record);
          this.#soon(REDRAW);
        },
        problem: this.list.problem,
        lagged: () => {
          this.list.stale();
          this.#soon(REDRAW);
        },
        hello: (hello) => {
          this.shell.hello(hello);
          this.#soon(REDRAW);
        },
        state: this.shell.connection,
      });
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      if (error instanceof Problem && error.status === 404) await this.#waitForIt();
      else this.shell.failed(error, () => this.#begin());
    }
  }

  /** Says that there is no such machine, and waits until there is. */
  async #waitForIt() {
    const { signal } = this.#ended;
    const parts = [...this.element.children];
    const missing = noSuchMachine(this.name);
    this.element.replaceChildren(missing);
    document.title = `No machine ${label(this.name)} – qev`;
    this.shell.announce(missing.querySelector("h1")?.textContent ?? "");
    try {
      const { last } = await events(new URLSearchParams({ limit: "1" }), signal);
      if (signal.aborted) return;
      this.#stream = new Stream(this.query, last, {
        record: () => {
          this.#stream?.end();
          this.element.replaceChildren(...parts);
          document.title = `${label(this.name)} – qev`;
          void this.#begin();
        },
        lagged: () => {},
        hello: this.shell.hello,
        state: this.shell.connection,
      });
    } catch (error) {
      if (!signal.aborted) this.shell.failed(error, () => this.#waitForIt());
    }
  }

  /** @param {number} after milliseconds */
  #soon(after) {
    const at = Date.now() + after;
    if (this.#timer !== undefined && this.#at <= at) return;
    clearTimeout(this.#timer);
    this.#at = at;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#draw().catch(() => this.#soon(BY_ITSELF));
    }, after);
  }

  async #draw() {
    const machine = await askMachine(this.name, this.which, this.#ended.signal);
    const query = new URLSearchParams(this.which);
    const since = this.since || (await this.#usual());
    query.set("since", since);
    if (this.until) query.set("until", this.until);
    query.set("points", POINTS);
    const timeline = await askTimeline(this.name, query, this.#ended.signal);
    const cut = timeline.complete ? "" : element("p", { class: "cut" }, "Not all of it: there is more in this time than is drawn.");
    keepingFocus("div.machine", () => {
      this.#say(machine);
      this.#offer(this.until ? "" : since);
      this.drawn.replaceChildren(lanes(timeline), cut, diskStrips(timeline, machine));
    });
    this.drawn.removeAttribute("aria-busy");
    if (!document.hidden) this.#soon(BY_ITSELF);
    else document.addEventListener("visibilitychange", () => this.#soon(0), { once: true, signal: this.#ended.signal });
  }

  /** @param {Machine} machine */
  #say(machine) {
    const state = machine.state === "attached" ? looks(machine.latest?.run_state ?? machine.run_state) : "away";
    const balloon = machine.latest?.balloon;
    const panic = machine.latest?.panic;
    const since = machine.latest?.run_state_since;
    const runState = machine.state === "attached" ? (machine.latest?.run_state ?? machine.run_state) : undefined;
    /** @type {[string, import("./text.js").Child | import("./text.js").Child[]][]} */
    const facts = [
      ["state since", element("time", { datetime: machine.since }, dayAndClock(Date.parse(machine.since)))],
      [`${label(runStateWords(runState))} since`, runState && (since ? element("time", { datetime: since.received }, dayAndClock(Date.parse(since.received))) : "before it was attached")],
      ["QEMU", machine.qemu && foreign(machine.qemu, 40)],
      ["process", machine.pid],
      ["way in", machine.way && [foreign(machine.way, 40), " ", element("code", null, foreign(machine.place ?? "", 120))]],
      ["monitor lent", machine.share && [element("code", null, foreign(machine.share.path, 120)), `, ${counted(machine.share.clients, "client")}`]],
      ["identity", machine.machine_id && element("code", null, foreign(machine.machine_id, 80))],
      ["session", machine.session && element("code", null, foreign(machine.session, 80))],
      ["balloon", balloon && size(balloon.actual)],
      ["last panic", panic && mentioned(panic.seq, `${ago(Date.parse(panic.received), Date.now())}: ${shortened(panic.action, 40)}`)],
      ["events", machine.events !== undefined && counted(machine.events, "event")],
    ];
    this.head.className = `machine-head ${severityClass(machine.severity)}`;
    this.head.replaceChildren(
      element("h1", null, foreign(machine.machine, 200)),
      element("p", { class: "machine-state" }, element("span", { class: `tile-state state-${state}` }, foreign(stateWords(machine), 60)), machine.severity && severityMark(machine.severity), machine.note && foreign(machine.note, 300)),
      machine.worst ? element("p", { class: "machine-worst" }, "Worst of the last hour: ", mentioned(machine.worst.seq, machine.worst.summary)) : "",
      element("dl", { class: "facts" }, ...facts.filter(([, value]) => value).map(([name, value]) => element("div", null, element("dt", null, name), element("dd", null, ...[value].flat())))),
    );
  }

  /** What is drawn when nothing says from when: all of a machine whose first record is young, else the last hour. */
  async #usual() {
    if (this.#first === undefined) {
      const query = new URLSearchParams(this.query);
      for (const [key, value] of Object.entries({ since: USUAL, order: "oldest", limit: "1" })) query.set(key, value);
      const { records } = await events(query, this.#ended.signal);
      this.#first = records[0]?.time ?? 0;
    }
    return Date.now() - this.#first < LATELY ? "-15min" : USUAL;
  }

  /** @param {string} since which range is shown */
  #offer(since) {
    // Only when it changed, or who stands on it with the keyboard would lose their place.
    if (this.#offered === since) return;
    this.#offered = since;
    const links = RANGES.map((range) => {
      const which = new URLSearchParams(this.which);
      which.set("since", range);
      const href = `${machineLink({ machine: this.name })}?${which}`;
      return element("a", { href, "aria-current": range === since ? "true" : null }, range.slice(1));
    });
    this.ranges.replaceChildren(...links);
  }
}

/** @param {number | undefined} seq @param {string} words */
function mentioned(seq, words) {
  return seq === undefined ? foreign(words) : element("a", { href: eventLink(seq) }, foreign(words));
}

/** What stands in place of a machine that does not exist. @param {string} name */
function noSuchMachine(name) {
  return element(
    "div",
    { class: "missing" },
    element("h1", null, "There is no machine ", foreign(name, 200)),
    element("p", null, "No machine of this name is attached, and the journal knows none. It is shown here as soon as it is attached."),
    element("p", null, element("a", { href: "#/fleet" }, "All machines, and QEMUs that are not attached")),
  );
}
