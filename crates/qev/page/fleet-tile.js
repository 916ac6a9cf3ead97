/** A tile: a machine's name, its state in words, the sentence that matters most, and its last hour as bars. */

import { machineLink } from "./links.js";
import { counted } from "./numbers.js";
import { severityMark } from "./record-row.js";
import { Said } from "./said.js";
import { SEVERITIES, rank, severityClass, worse } from "./severity.js";
import { looks, stateWords } from "./state-words.js";
import { drawn, element, foreign } from "./text.js";
import { ago } from "./time.js";

/** @typedef {import("./machine-types.js").Machine} Machine */

const MINUTES = 60;
const HEIGHT = 16;

/** @param {Machine} machine */
export function keyOf(machine) {
  return `${machine.machine}\n${machine.machine_id ?? ""}\n${machine.session ?? ""}`;
}

/**
 * The last hour, a bar a minute: a path for each severity. Heights grow with the logarithm: one event is seen beside a
 * thousand.
 *
 * @param {Machine} machine
 * @returns {{paths: Map<string, string>, sum: number}}
 */
function bars(machine) {
  const counts = machine.histogram?.counts ?? [];
  const tall = (/** @type {number} */ n) => Math.min(HEIGHT, 3 + Math.log2(1 + n) * 2.2);
  /** @type {Map<string, string>} */
  const paths = new Map();
  let sum = 0;
  /** @type {Map<number, {n: number, severity: string}>} a bar a minute, in the colour of its worst */
  const minutes = new Map();
  for (const [minute, n, severity] of counts) {
    const known = minutes.get(minute) ?? { n: 0, severity };
    minutes.set(minute, { n: known.n + n, severity: worse(known.severity, severity) });
    sum += n;
  }
  for (const [minute, { n, severity }] of minutes) {
    const height = tall(n).toFixed(1);
    paths.set(severity, `${paths.get(severity) ?? ""}M${minute + 0.1} ${HEIGHT}v-${height}h.8v${height}z`);
  }
  return { paths, sum };
}

/** Tiles that were made, so that each has identifiers of its own. */
let tilesMade = 0;

/** A tile. What it says is changed where it is, so whoever stands on it with the keyboard stays there. */
export class FleetTile {
  constructor() {
    const id = `tile-${(tilesMade += 1)}`;
    this.name = element("span", { class: "tile-name" });
    this.state = element("span");
    // The link's text is its name; its severity and the sentence describe it.
    this.link = element("a", { class: "tile-link", "aria-describedby": `${id}-severity ${id}-sentence` }, this.name, element("span", { class: "unseen" }, ": "), this.state);
    this.sentence = element("p", { class: "tile-sentence", id: `${id}-sentence` });
    this.mark = element("span", { class: "mark" });
    this.severity = element("span", { id: `${id}-severity` }, this.mark);
    this.drawing = drawn("svg", { viewBox: `0 0 ${MINUTES} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.bars = element("span", { class: "tile-bars", role: "img" }, this.drawing);
    this.time = element("time");
    this.element = element("li", null, this.link, this.sentence, element("p", { class: "tile-foot" }, this.severity, this.bars, this.time));
    this.said = new Said();
  }

  /**
   * @param {{left: number, top: number}} place
   * @param {{width: number, height: number}} size
   * @param {number} which from 1
   * @param {number} all
   */
  place({ left, top }, { width, height }, which, all) {
    this.said.tell("place", `${left} ${top} ${width} ${height}`, () => {
      const { style } = this.element;
      style.left = `${left}px`;
      style.top = `${top}px`;
      style.width = `${width}px`;
      style.height = `${height}px`;
    });
    this.said.tell("which", `${which} ${all}`, () => {
      this.element.setAttribute("aria-posinset", String(which));
      this.element.setAttribute("aria-setsize", String(all));
    });
  }

  /**
   * @param {Machine} machine
   * @param {boolean} shared whether others have its name
   * @param {number} now
   */
  draw(machine, shared, now) {
    const severity = machine.severity ?? "debug";
    const mention = rank(severity) >= rank("warning") ? (machine.worst ?? machine.last) : (machine.last ?? machine.worst);
    const state = machine.state === "attached" ? looks(machine.latest?.run_state ?? machine.run_state) : "away";
    const words = stateWords(machine);
    const summary = mention?.summary ?? machine.note;
    const { paths, sum } = bars(machine);
    this.said.tell("class", `tile ${severityClass(severity)}`, (name) => (this.element.className = name));
    this.said.tell("link", machineLink(machine, shared), (address) => this.link.setAttribute("href", address));
    this.said.tell("name", machine.machine, (name) => this.name.replaceChildren(foreign(name, 60)));
    this.said.tell("look", `tile-state state-${state}`, (name) => (this.state.className = name));
    this.said.tell("state", words, () => this.state.replaceChildren(foreign(words, 40)));
    this.said.tell("sentence", `${summary}`, () => this.sentence.replaceChildren(summary === undefined ? "nothing happened in the last hour" : foreign(summary, 140)));
    this.said.tell("mark", machine.severity ?? "", () => {
      const mark = machine.severity ? severityMark(machine.severity) : element("span", { class: "mark" }, "quiet");
      this.mark.replaceWith(mark);
      this.mark = mark;
    });
    this.said.tell("sum", `${counted(sum, "record")} in the last hour`, (name) => this.bars.setAttribute("aria-label", name));
    this.said.tell("bars", JSON.stringify([...paths]), () =>
      this.drawing.replaceChildren(...SEVERITIES.filter((each) => paths.has(each)).map((each) => drawn("path", { d: paths.get(each), class: `bar ${severityClass(each)}` }))),
    );
    this.said.tell("received", mention?.received ?? "", (received) => this.time.setAttribute("datetime", received));
    this.said.tell("ago", mention ? ago(Date.parse(mention.received), now) : "", (text) => (this.time.textContent = text));
  }
}
