/** The stream: all records that meet the filters, newest first, as they come; above them how many there were over time. */

import { histogram, machinesNamed } from "./api.js";
import { MANY, ONE, fromAddress, fromText, isEmpty, toQuery, toText } from "./filters.js";
import { HistogramView } from "./histogram.js";

import { eventLink, streamLink } from "./links.js";
import { RecordList } from "./record-list.js";
import { SEVERITIES } from "./severity.js";
import { Stream } from "./stream.js";
import { element, foreign } from "./text.js";
import { rfc3339 } from "./time.js";

/** @typedef {import("./filters.js").Filters} Filters */
/** @typedef {import("./view.js").Shell} Shell */
/** @typedef {import("./view.js").View} View */

/** What the histogram shows when nothing says from when. */
const USUAL = "-1h";
const RANGES = ["-15min", "-1h", "-6h", "-1d", "-7d"];
const BUCKETS = "120";
const REDRAW = 2500;

/** @implements {View} */
export class StreamView {
  /** @type {Stream | undefined} */
  #stream;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #redraw;
  #ended = new AbortController();

  /** @param {Shell} shell @param {URLSearchParams} address */
  constructor(shell, address) {
    this.shell = shell;
    this.filters = fromAddress(address);
    this.title = isEmpty(this.filters) ? "Stream" : `Stream: ${toText(this.filters)}`;
    this.query = toQuery(this.filters);
    this.histogram = new HistogramView((from, until) => this.#go({ ...this.filters, since: rfc3339(from), until: rfc3339(until) }));
    this.list = new RecordList({ query: this.query, withMachine: true, announce: shell.announce, failed: shell.failed, empty: () => void this.#explainEmpty() });
    this.pauseButton = element("button", { type: "button", "aria-pressed": "false", click: () => this.pause() }, "Pause");
    this.list.element.addEventListener("paused", () => this.#showPaused());
    this.element = element("div", { class: "stream" }, element("h1", null, "Stream"), this.#form(), this.#chips(), this.histogram.element, this.list.element);
    this.keys = [
      { keys: "/", does: "filter", act: () => this.input?.focus() },
      { keys: "j", does: "next record", act: () => this.list.move(1) },
      { keys: "k", does: "record before", act: () => this.list.move(-1) },
      { keys: "Enter", does: "open the record", act: () => this.open() },
      { keys: "r", does: "raw JSON of the record", act: () => this.list.focused?.toggleRaw() },
      { keys: "x", does: "unfold the row", act: () => this.list.focused?.row.count !== 1 && this.list.focused?.toggle() },
      { keys: "p", does: "pause, go on", act: () => this.pause() },
    ];
    void this.#begin();
  }

  end() {
    this.#ended.abort();
    clearTimeout(this.#redraw);
    this.#stream?.end();
    this.list.end();
  }

  open() {
    const seq = this.list.focused?.row.newest.seq;
    if (seq !== undefined) this.shell.go(eventLink(seq));
  }

  pause() {
    if (this.list.paused) this.list.release();
    else this.list.pause(true);
  }

  #showPaused() {
    const { paused } = this.list;
    this.pauseButton.setAttribute("aria-pressed", String(paused));
    this.pauseButton.textContent = paused ? "Go on" : "Pause";
    this.shell.announce(paused ? "paused" : "going on");
  }

  async #begin() {
    void this.#count();
    try {
      const last = await this.list.load();
      if (this.#ended.signal.aborted) return;
      this.#follow(last);
    } catch (error) {
      this.shell.failed(error, () => this.#begin());
    }
  }

  /** Says what was looked for, and whether a machine is named that does not exist. */
  async #explainEmpty() {
    if (isEmpty(this.filters)) return;
    const { words } = this.list;
    words.replaceChildren("No record matches ", element("code", null, foreign(toText(this.filters), 300)), ".");
    const { machine } = this.filters;
    if (machine.length === 0) return;
    try {
      const { machines: found } = await machinesNamed(machine, this.#ended.signal);
      const named = machine.map((glob) => `“${glob}”`).join(" or ");
      if (found.length === 0 && words.isConnected && this.list.rows.rows.length === 0) words.append(" There is no machine ", foreign(named, 200), ": ", element("a", { href: "#/fleet" }, "all machines"), ".");
    } catch {
      // That nothing matches is true all the same.
    }
  }

  /** @param {number} last */
  #follow(last) {
    // What came until some moment in the past is all there is.
    if (this.filters.until !== "") {
      this.shell.connection("still");
      return;
    }
    this.#stream = new Stream(this.query, last, {
      record: (record) => {
        this.list.add(record);
        this.#countSoon();
      },
      problem: this.list.problem,
      lagged: () => this.list.stale(),
      hello: (hello) => {
        this.shell.hello(hello);
        this.#countSoon();
      },
      state: this.shell.connection,
    });
  }

  #countSoon() {
    this.#redraw ??= setTimeout(() => {
      this.#redraw = undefined;
      void this.#count();
    }, REDRAW);
  }

  async #count() {
    const query = new URLSearchParams(this.query);
    if (!query.has("since")) query.set("since", USUAL);
    query.set("buckets", BUCKETS);
    try {
      this.histogram.show(await histogram(query, this.#ended.signal));
    } catch (error) {
      if (!this.#ended.signal.aborted) this.histogram.words.textContent = `No count: ${error instanceof Error ? error.message : error}`;
    }
  }

  /** @param {Filters} filters */
  #go(filters) {
    this.shell.go(streamLink(filters));
  }

  #form() {
    this.input = element("input", {
      id: "filter",
      type: "text",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      placeholder: "GUEST_* machine:web* data.action=pause",
      "aria-describedby": "filter-help",
    });
    const { severity } = this.filters;
    this.input.value = toText({ ...this.filters, severity: "", since: "", until: "" });
    const severities = element(
      "select",
      { id: "severity", change: () => this.#submit() },
      element("option", { value: "" }, "all severities"),
      SEVERITIES.slice(1).map((name) => element("option", { value: name, selected: name === severity }, name === "critical" ? name : `${name} and worse`)),
    );
    this.severities = severities;
    return element(
      "form",
      {
        class: "filters",
        role: "search",
        submit: (/** @type {Event} */ event) => {
          event.preventDefault();
          this.#submit();
        },
      },
      element("label", { for: "filter" }, "Filter"),
      this.input,
      element("label", { for: "severity", class: "unseen" }, "Severity"),
      severities,
      element("button", { type: "submit" }, "Show"),
      this.pauseButton,
      element("p", { id: "filter-help", class: "unseen" }, "Words: an event such as GUEST_*, machine:web*, kind:gap, data.action=pause, grep:text, since:-1h, until:-5min."),
    );
  }

  #submit() {
    const typed = fromText(this.input?.value ?? "");
    const { since, until } = this.filters;
    this.#go({
      ...typed,
      severity: typed.severity || (this.severities?.value ?? ""),
      since: typed.since || since,
      until: typed.until || until,
    });
  }

  #chips() {
    const { filters } = this;
    const without = /** @param {Partial<Filters>} change */ (change) => streamLink({ ...filters, ...change });
    /** @type {HTMLElement[]} */
    const chips = [];
    for (const name of MANY) {
      for (const value of filters[name]) {
        chips.push(chip(name, value, without({ [name]: filters[name].filter((other) => other !== value) })));
      }
    }
    for (const name of ONE) {
      if (filters[name] !== "") chips.push(chip(name, filters[name], without({ [name]: "" })));
    }
    const ranges = RANGES.map((since) => {
      const chosen = filters.since === since && filters.until === "";
      return element("a", { href: streamLink({ ...filters, since, until: "" }), "aria-current": chosen ? "true" : null }, since.slice(1));
    });
    return element(
      "div",
      { class: "chips" },
      element("nav", { "aria-label": "Time", class: "ranges" }, ...ranges),
      chips.length > 0 && element("ul", { "aria-label": "Filters" }, ...chips, element("li", null, element("a", { href: streamLink() }, "clear all"))),
    );
  }
}

/** @param {string} name @param {string} value @param {string} without */
function chip(name, value, without) {
  const remove = element("a", { href: without, "aria-label": `Remove this filter: ${name} ${value.slice(0, 60)}` }, "×");
  return element("li", { class: "chip" }, element("span", { class: "chip-name" }, name), " ", element("code", null, foreign(value, 60)), " ", remove);
}
