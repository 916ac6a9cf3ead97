/**
 * A quorum disk: the whole disk from its first sector to its last, one strip a replica, with the bad sectors on it.
 * Which replica is dying is seen at a glance.
 *
 *     c0  ▏                                  ▕  nothing bad
 *     c1  ▏▉▉   ▉                            ▕  4 reports, the last: Input/output error
 *     q0  ▏     ▉                            ▕  no quorum once
 */

import { describeDrawing } from "./lanes.js";
import { eventLink } from "./links.js";
import { counted, grouped, size } from "./numbers.js";
import { diskEnd, runs } from "./plot.js";
import { drawn, element, foreign, label } from "./text.js";
import { clock } from "./time.js";

/** @typedef {import("./machine-types.js").Timeline} Timeline */
/** @typedef {import("./machine-types.js").Machine} Machine */
/** @typedef {import("./machine-types.js").BadSectors} BadSectors */

const SECTOR = 512;

/**
 * @param {Timeline} timeline
 * @param {Machine} machine
 * @returns {HTMLElement | ""}
 */
export function diskStrips(timeline, machine) {
  const named = [...timeline.quorum, ...timeline.quorum_failures];
  const quorums = machine.latest?.quorum ?? [];
  if (named.length === 0 && quorums.length === 0) return "";
  const end = diskEnd(named);
  const disks = groups(timeline, quorums);
  return element(
    "section",
    { class: "disk", "aria-labelledby": "disk-title" },
    element("h2", { id: "disk-title" }, "Quorum disk"),
    ...disks.map(({ name, children }) => [
      ...children.map((child) => replica(child, timeline.quorum.filter((report) => report.child === child), end)),
      name === undefined ? "" : failures(name, timeline, end),
    ]).flat(),
    scale(end),
  );
}

/**
 * Which replicas are whose, as far as it is known; the others stand by themselves.
 *
 * @param {Timeline} timeline
 * @param {import("./machine-types.js").Quorum[]} quorums
 */
function groups(timeline, quorums) {
  /** @type {{name: string | undefined, children: string[]}[]} */
  const made = quorums.map((quorum) => ({ name: quorum.reference, children: quorum.children.map((child) => child.node_name) }));
  const known = new Set(made.flatMap(({ children }) => children));
  const others = [...new Set(timeline.quorum.map((report) => report.child))].filter((child) => !known.has(child));
  const only = made.length === 1 ? made[0] : undefined;
  if (only) only.children.push(...others);
  else if (others.length > 0) made.push({ name: undefined, children: others });
  const names = new Set(made.map(({ name }) => name));
  for (const reference of new Set(timeline.quorum_failures.map((failure) => failure.reference))) {
    const unnamed = made.find(({ name }) => name === undefined || name === "");
    if (names.has(reference)) continue;
    if (unnamed) unnamed.name = reference;
    else made.push({ name: reference, children: [] });
  }
  for (const group of made) group.children.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  return made;
}

/**
 * @param {string} child
 * @param {BadSectors[]} reports
 * @param {number} end
 */
function replica(child, reports, end) {
  const last = reports.toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at)).at(-1);
  const often = (/** @type {BadSectors[]} */ some) => some.reduce((sum, { n = 1 }) => sum + n, 0);
  const sectors = runs(reports.filter((report) => report.count > 0));
  const flushes = often(reports.filter((report) => report.count === 0));
  const where = sectors.slice(0, 8).map(({ sector, count }) => (count === 1 ? `${sector}` : `${sector} to ${sector + count - 1}`));
  const said = last
    ? element(
        "span",
        null,
        element("strong", null, counted(often(reports), "report")),
        flushes > 0 && `, ${counted(flushes, "flush", "flushes")} failed`,
        `, last ${clock(Date.parse(last.at))}: `,
        foreign(last.error ?? (last.type === undefined ? "bad" : `bad data (${last.type})`), 80),
      )
    : "nothing bad";
  const words = `Replica ${label(child)}: ${last ? `${counted(often(reports), "report")}, sectors ${where.join(", ")}${sectors.length > 8 ? " and more" : ""}` : "nothing bad"}`;
  return strip("of-replica", child, words, sectors, end, said, (report) => `${report.type ?? "request"}: ${report.error ? label(report.error) : "bad data"}`);
}

/**
 * @param {string} name
 * @param {Timeline} timeline
 * @param {number} end
 */
function failures(name, timeline, end) {
  const found = timeline.quorum_failures.filter((failure) => failure.reference === name);
  const last = found.at(-1);
  const said = last ? element("span", null, element("strong", null, `no quorum ${counted(found.length, "time")}`), `, last ${clock(Date.parse(last.at))}`) : "always a quorum";
  return strip("of-quorum", name, `Quorum ${label(name)}: no quorum ${counted(found.length, "time")}`, runs(found), end, said, () => "no quorum");
}

/**
 * @template {{sector: number, count: number, at: string, seq?: number}} T
 * @param {string} className
 * @param {string} name
 * @param {string} words
 * @param {{sector: number, count: number, reports: T[]}[]} sectors
 * @param {number} end
 * @param {HTMLElement | string} said
 * @param {(report: T) => string} what
 */
function strip(className, name, words, sectors, end, said, what) {
  const marks = sectors.map(({ sector, count, reports }) => {
    const last = reports.at(-1);
    const seen = reports.slice(-6).map((report) => `${clock(Date.parse(report.at))} ${what(report)}`);
    const mark = drawn(
      "rect",
      { x: `${((sector / end) * 100).toFixed(4)}%`, width: `${((count / end) * 100).toFixed(4)}%`, y: 0, height: 22, class: "bad", "data-sector": sector, "data-count": count },
      drawn("title", null, `${count === 1 ? `sector ${sector}` : `sectors ${sector} to ${sector + count - 1}`}: ${counted(reports.length, "report")}\n${seen.join("\n")}`),
    );
    if (last?.seq === undefined) return mark;
    return drawn("a", { href: eventLink(last.seq), "aria-label": mark.textContent }, mark);
  });
  const drawing = drawn("svg", { height: 22, class: "strip" }, marks);
  describeDrawing(drawing, words);
  return element(
    "div",
    { class: `lane disk-strip ${className}${sectors.length > 0 ? " is-bad" : ""}`, "data-node": label(name) },
    element("h3", { class: "lane-name" }, foreign(name, 40)),
    element("div", { class: "lane-drawing" }, drawing),
    element("p", { class: "lane-said" }, said),
  );
}

/** @param {number} end */
function scale(end) {
  const until = end === 0 ? "no sector was named yet" : `sector ${grouped(end)} (${size(end * SECTOR)})`;
  return element(
    "div",
    { class: "lane of-axis" },
    element("span", { class: "lane-name" }),
    element("p", { class: "disk-axis" }, element("span", null, "sector 0"), element("span", null, until)),
    element("p", { class: "lane-said" }, "as far as reports reach"),
  );
}
