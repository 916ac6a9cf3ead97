/**
 * The fleet: a tile a machine, the worst first. What matters is followed as it comes; all else is asked for every few
 * seconds, the less often the longer the answer takes.
 */

import { machines } from "./api.js";
import { counted, grouped } from "./numbers.js";
import { SEVERITIES, rank, shape, worse } from "./severity.js";
import { stateWords } from "./state-words.js";
import { Stream } from "./stream.js";
import { element, foreign } from "./text.js";
import { Tiles } from "./tiles.js";
import { Unattached } from "./unattached.js";

/** @typedef {import("./machine-types.js").Machine} Machine */
/** @typedef {import("./view.js").Shell} Shell */
/** @typedef {import("./view.js").View} View */

/** How often the whole is asked for, at most; and how much of the time may go into it. */
const EVERY = 4000;
const SHARE = 15;

/** @implements {View} */
export class FleetView {
  title = "Fleet";
  /** @type {Machine[]} */
  #machines = [];
  /** @type {Map<string, Machine[]>} those that have this name */
  #named = new Map();
  /** @type {Stream | undefined} */
  #stream;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #ended = new AbortController();

  /** @param {Shell} shell @param {URLSearchParams} address */
  constructor(shell, address) {
    this.shell = shell;
    this.find = element("input", {
      id: "find",
      type: "search",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "name, state or sentence",
      input: () => this.#found(),
    });
    this.find.value = address.get("find") ?? "";
    this.words = element("p", { class: "fleet-words", "aria-live": "off" }, "…");
    this.unattached = new Unattached();
    this.tiles = new Tiles((name) => (this.#named.get(name)?.length ?? 0) > 1);
    this.element = element(
      "div",
      { class: "fleet" },
      element("h1", null, "Fleet"),
      element("form", { class: "filters", role: "search", submit: (/** @type {Event} */ event) => event.preventDefault() }, element("label", { for: "find" }, "Find"), this.find, this.words),
      this.tiles.element,
      this.unattached.element,
    );
    this.keys = [
      { keys: "/", does: "find a machine", act: () => this.find.focus() },
      { keys: "j", does: "next machine", act: () => this.tiles.move(1) },
      { keys: "k", does: "machine before", act: () => this.tiles.move(-1) },
    ];
    void this.#begin();
  }

  end() {
    this.#ended.abort();
    clearTimeout(this.#timer);
    this.tiles.end();
    this.unattached.end();
    this.#stream?.end();
  }

  async #begin() {
    try {
      const last = await this.#load();
      if (this.#ended.signal.aborted) return;
      this.#stream = new Stream(new URLSearchParams({ severity: "notice" }), last, {
        record: (record) => this.#happened(record),
        lagged: () => this.#soon(0),
        hello: (hello) => {
          this.shell.hello(hello);
          this.#soon(0);
        },
        state: this.shell.connection,
      });
    } catch (error) {
      if (!this.#ended.signal.aborted) this.shell.failed(error, () => this.#begin());
    }
  }

  /** @returns {Promise<number>} */
  async #load() {
    const begin = performance.now();
    const answer = await machines(undefined, this.#ended.signal);
    this.#machines = answer.machines;
    this.#named = new Map();
    for (const machine of this.#machines) {
      const namesakes = this.#named.get(machine.machine);
      if (namesakes) namesakes.push(machine);
      else this.#named.set(machine.machine, [machine]);
    }
    this.#found(false);
    this.#soon(Math.max(EVERY, (performance.now() - begin) * SHARE));
    return answer.last;
  }

  /** @param {number} after milliseconds */
  #soon(after) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      // A page that nobody sees asks for nothing; when the daemon is away its stream tells when it is back.
      if (document.hidden) this.#soon(EVERY);
      else void this.#load().catch(() => this.#soon(EVERY));
    }, after);
  }

  /**
   * Something that matters: shown at once, before the whole is asked for again.
   *
   * @param {import("./record.js").LogRecord} record
   */
  #happened(record) {
    const machine = this.#named.get(record.machine)?.find((each) => (each.session ?? record.session) === record.session);
    if (!machine) {
      this.#soon(500);
      return;
    }
    machine.severity = worse(machine.severity, record.severity);
    machine.last = record;
    if (rank(record.severity) >= rank(machine.worst?.severity)) machine.worst = record;
    this.tiles.draw(machine);
    if (record.kind !== "event") this.#soon(500);
  }

  /** Shows what is looked for. */
  #found(typed = true) {
    const wanted = this.find.value.trim().toLowerCase();
    const found = wanted === "" ? this.#machines : this.#machines.filter((machine) => textOf(machine).includes(wanted));
    this.tiles.show(found);
    this.#say(found.length);
    if (typed) {
      history.replaceState(null, "", wanted === "" ? "#/fleet" : `#/fleet?${new URLSearchParams({ find: wanted })}`);
      this.shell.announce(counted(found.length, "machine"));
    }
  }

  /** @param {number} shown */
  #say(shown) {
    const all = this.#machines.length;
    const parts = SEVERITIES.toReversed()
      .filter((severity) => rank(severity) >= rank("warning"))
      .map((severity) => ({ severity, n: this.#machines.filter((machine) => machine.severity === severity).length }))
      .filter(({ n }) => n > 0)
      .map(({ severity, n }) => `${shape(severity)} ${grouped(n)} ${severity}`);
    const attached = this.#machines.filter((machine) => machine.state === "attached").length;
    const which = shown === all ? counted(all, "machine") : `${grouped(shown)} of ${counted(all, "machine")}`;
    if (all > 0 && shown === 0) {
      this.words.replaceChildren("No machine matches “", foreign(this.find.value.trim(), 60), `”: ${counted(all, "machine")} in all.`);
      return;
    }
    this.words.textContent = all === 0 ? "No machine yet. “qev attach-args” prints what a QEMU needs to come here by itself." : [which, `${grouped(attached)} attached`, ...parts].join(" · ");
  }
}

/**
 * What is searched of a machine.
 *
 * @param {Machine} machine
 */
function textOf(machine) {
  return `${machine.machine}\n${stateWords(machine)}\n${machine.severity ?? ""}\n${machine.worst?.summary ?? ""}\n${machine.last?.summary ?? ""}`.toLowerCase();
}
