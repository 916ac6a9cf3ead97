/**
 * The fleet: a tile a machine, the worst first. What matters is followed as it comes; all else is asked for every few
 * seconds, the less often the longer the answer takes.
 */

import { machines } from "./api.js";
import { drawTile, keyOf } from "./fleet-tile.js";
import { keepingFocus } from "./focus.js";
import { counted, grouped } from "./numbers.js";
import { SEVERITIES, rank, shape, worse } from "./severity.js";
import { stateWords } from "./state-words.js";
import { Stream } from "./stream.js";
import { element } from "./text.js";

/** @typedef {import("./machine-types.js").Machine} Machine */
/** @typedef {import("./view.js").Shell} Shell */
/** @typedef {import("./view.js").View} View */

/** How often the whole is asked for, at most; and how much of the time may go into it. */
const EVERY = 4000;
const SHARE = 15;

/** Tiles that are drawn at once; the others follow while the browser has nothing else to do. */
const AT_ONCE = 120;

/** @implements {View} */
export class FleetView {
  title = "Fleet";
  /** @type {Machine[]} */
  #machines = [];
  /** @type {Map<string, {tile: HTMLElement, said: string}>} */
  #tiles = new Map();
  /** @type {Stream | undefined} */
  #stream;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #ended = new AbortController();
  #drawing = 0;

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
    this.tiles = element("ul", { class: "tiles", "aria-label": "Machines, the worst first" });
    this.element = element(
      "div",
      { class: "fleet" },
      element("h1", null, "Fleet"),
      element("form", { class: "filters", role: "search", submit: (/** @type {Event} */ event) => event.preventDefault() }, element("label", { for: "find" }, "Find"), this.find, this.words),
      this.tiles,
    );
    this.keys = [
      { keys: "/", does: "find a machine", act: () => this.find.focus() },
      { keys: "j", does: "next machine", act: () => this.#move(1) },
      { keys: "k", does: "machine before", act: () => this.#move(-1) },
    ];
    void this.#begin();
  }

  end() {
    this.#ended.abort();
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#drawing);
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
    this.#draw();
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
    const machine = this.#machines.find((each) => each.machine === record.machine && (each.session ?? record.session) === record.session);
    const known = machine && this.#tiles.get(keyOf(machine));
    if (!machine || !known) {
      this.#soon(500);
      return;
    }
    machine.severity = worse(machine.severity, record.severity);
    machine.last = record;
    if (rank(record.severity) >= rank(machine.worst?.severity)) machine.worst = record;
    known.said = "";
    this.#fill(machine);
    if (record.kind !== "event") this.#soon(500);
  }

  /** @param {Machine} machine */
  #fill(machine) {
    const key = keyOf(machine);
    const said = JSON.stringify([machine.state, machine.run_state, machine.latest?.run_state, machine.severity, machine.worst, machine.last, machine.histogram, machine.note]);
    const known = this.#tiles.get(key) ?? { tile: element("li"), said: "" };
    this.#tiles.set(key, known);
    if (known.said !== said) {
      known.said = said;
      keepingFocus(".tile", () => drawTile(known.tile, machine, (this.#names.get(machine.machine) ?? 0) > 1, Date.now()));
    }
    return known.tile;
  }

  /** @type {Map<string, number>} how many have this name */
  #names = new Map();

  #draw() {
    this.#names = new Map();
    for (const { machine } of this.#machines) this.#names.set(machine, (this.#names.get(machine) ?? 0) + 1);
    const there = new Set(this.#machines.map(keyOf));
    for (const [key, { tile }] of this.#tiles) {
      if (there.has(key)) continue;
      tile.remove();
      this.#tiles.delete(key);
    }
    cancelAnimationFrame(this.#drawing);
    this.#place(0, AT_ONCE);
    this.#found(false);
  }

  /** Puts tiles where they belong, some in each frame. @param {number} from @param {number} count */
  #place(from, count) {
    const part = this.#machines.slice(from, from + count);
    part.forEach((machine, index) => {
      const tile = this.#fill(machine);
      const stands = this.tiles.children[from + index];
      if (stands !== tile) keepingFocus(".tile", () => this.tiles.insertBefore(tile, stands ?? null));
    });
    if (from + count < this.#machines.length) this.#drawing = requestAnimationFrame(() => this.#place(from + count, AT_ONCE));
    else if (this.find.value !== "") this.#found(false);
  }

  /** Hides what is not looked for. */
  #found(typed = true) {
    const wanted = this.find.value.trim().toLowerCase();
    let shown = 0;
    for (const machine of this.#machines) {
      const text = `${machine.machine}\n${stateWords(machine)}\n${machine.severity ?? ""}\n${machine.worst?.summary ?? ""}\n${machine.last?.summary ?? ""}`;
      const fits = wanted === "" || text.toLowerCase().includes(wanted);
      if (fits) shown += 1;
      const tile = this.#tiles.get(keyOf(machine))?.tile;
      if (tile) tile.hidden = !fits;
    }
    this.#say(shown);
    if (typed) {
      history.replaceState(null, "", wanted === "" ? "#/fleet" : `#/fleet?${new URLSearchParams({ find: wanted })}`);
      this.shell.announce(counted(shown, "machine"));
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
    this.words.textContent = all === 0 ? "No machine yet. “qev attach-args” prints what a QEMU needs to come here by itself." : [which, `${grouped(attached)} attached`, ...parts].join(" · ");
  }

  /** @param {1 | -1} step */
  #move(step) {
    const tiles = /** @type {HTMLElement[]} */ ([...this.tiles.children]).filter((tile) => tile instanceof HTMLElement && !tile.hidden);
    const at = tiles.findIndex((tile) => tile.contains(document.activeElement));
    const next = tiles[at < 0 ? 0 : at + step];
    next?.querySelector("a")?.focus();
  }
}
