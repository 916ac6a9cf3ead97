/** A tile: a machine's name, its state in words, the sentence that matters most, and its last hour as bars. */

import { machineLink } from "./links.js";
import { counted } from "./numbers.js";
import { severityMark } from "./record-row.js";
import { SEVERITIES, rank, severityClass, worse } from "./severity.js";
import { looks, stateWords } from "./state-words.js";
import { drawn, element, foreign, label } from "./text.js";
import { ago } from "./time.js";

/** @typedef {import("./machine-types.js").Machine} Machine */

const MINUTES = 60;
const HEIGHT = 16;

/** @param {Machine} machine */
export function keyOf(machine) {
  return `${machine.machine}\n${machine.machine_id ?? ""}\n${machine.session ?? ""}`;
}

/**
 * The last hour, a bar a minute. Heights grow with the logarithm: one event is seen beside a thousand.
 *
 * @param {Machine} machine
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
  return element(
    "span",
    { class: "tile-bars", role: "img", "aria-label": `${counted(sum, "record")} in the last hour` },
    drawn(
      "svg",
      { viewBox: `0 0 ${MINUTES} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      SEVERITIES.map((severity) => paths.has(severity) && drawn("path", { d: paths.get(severity), class: `bar ${severityClass(severity)}` })),
    ),
  );
}

/**
 * @param {HTMLElement} tile filled anew
 * @param {Machine} machine
 * @param {boolean} shared whether others have its name
 * @param {number} now
 */
export function drawTile(tile, machine, shared, now) {
  const severity = machine.severity ?? "debug";
  const mention = rank(severity) >= rank("warning") ? (machine.worst ?? machine.last) : (machine.last ?? machine.worst);
  const state = machine.state === "attached" ? looks(machine.latest?.run_state ?? machine.run_state) : "away";
  tile.className = `tile ${severityClass(severity)}`;
  tile.replaceChildren(
    element(
      "a",
      { class: "tile-link", href: machineLink(machine, shared), "aria-label": `${label(machine.machine)}: ${label(stateWords(machine))}` },
      element("span", { class: "tile-name" }, foreign(machine.machine, 60)),
      element("span", { class: `tile-state state-${state}` }, foreign(stateWords(machine), 40)),
    ),
    element(
      "p",
      { class: "tile-sentence" },
      mention ? foreign(mention.summary, 140) : machine.note ? foreign(machine.note, 140) : "nothing happened in the last hour",
    ),
    element(
      "p",
      { class: "tile-foot" },
      machine.severity ? severityMark(machine.severity) : element("span", { class: "mark" }, "quiet"),
      bars(machine),
      mention ? element("time", { datetime: mention.received }, ago(Date.parse(mention.received), now)) : "",
    ),
  );
}
