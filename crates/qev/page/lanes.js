/**
 * What happened to a machine, in lanes over one time axis:
 *
 *     run state  ▐ running ▐▐ panicked ▐▐ running      ▐
 *     balloon    ▔▔▔\______/▔▔▔▔▔   - - - target
 *     DIMM 0          ◇ ◇     ▲                          guest refused to release: busy
 *     panics             ■
 *     gaps       ░░░
 */

import { extent, linear, spans, stepPath, timeTicks } from "./plot.js";
import { size } from "./numbers.js";
import { looks, runStateWords } from "./state-words.js";
import { shape } from "./severity.js";
import { drawn, element, foreign, label } from "./text.js";
import { clock, lasting } from "./time.js";
import { linksByArrowKeys } from "./arrow-keys.js";
import { eventLink } from "./links.js";

/** @typedef {import("./machine-types.js").Timeline} Timeline */

const WIDTH = 1000;
const PLOT = 100;

/** @param {number} part of the whole */
function percent(part) {
  return `${(part * 100).toFixed(3)}%`;
}

/** @typedef {{from: number, until: number, x: (at: number) => number}} Scale */

/** @param {Timeline} timeline @returns {Scale} */
export function scaleOf(timeline) {
  const from = Date.parse(timeline.from);
  const until = Date.parse(timeline.until);
  return { from, until, x: linear([from, until], [0, 1]) };
}

/**
 * @param {Timeline} timeline
 * @returns {HTMLElement}
 */
export function lanes(timeline) {
  const scale = scaleOf(timeline);
  const made = [runStates(timeline, scale), balloon(timeline, scale), ...slots(timeline, scale), panics(timeline, scale), resets(timeline, scale), gaps(timeline, scale)];
  return element("div", { class: "lanes" }, ...made, axis(scale));
}

/**
 * @param {string} className
 * @param {string | HTMLElement} name
 * @param {string} words what a person who does not see it is told
 * @param {Element} drawing
 * @param {HTMLElement | string} [said]
 */
function lane(className, name, words, drawing, said) {
  describeDrawing(drawing, words);
  return element(
    "section",
    { class: `lane ${className}` },
    element("h3", { class: "lane-name" }, name),
    element("div", { class: "lane-drawing" }, drawing),
    element("p", { class: "lane-said" }, said ?? ""),
  );
}

/**
 * Says what a drawing shows. One with links in it is a group, and its links can be reached by key; one without is a picture.
 *
 * @param {Element} drawing
 * @param {string} words
 */
export function describeDrawing(drawing, words) {
  drawing.setAttribute("role", linksByArrowKeys(drawing) ? "group" : "img");
  drawing.setAttribute("aria-label", words);
}

/** @param {string} title */
function titled(title) {
  return drawn("title", null, title);
}

/**
 * @param {number | undefined} seq
 * @param {SVGElement} shown
 */
function linked(seq, shown) {
  if (seq === undefined) return shown;
  const title = shown.querySelector("title")?.textContent ?? `record ${seq}`;
  return drawn("a", { href: eventLink(seq), "aria-label": title }, shown);
}

/** @param {Timeline} timeline @param {Scale} scale */
function runStates(timeline, { from, until, x }) {
  const changes = timeline.run_state.map((change) => ({ ...change, at: Math.max(from, Date.parse(change.at)) }));
  const parts = spans(changes, until).map((span) => {
    const width = x(span.until) - x(span.at);
    const words = runStateWords(span.state);
    const box = drawn("svg", { x: percent(x(span.at)), y: 2, width: percent(Math.max(width, 0.002)), height: 20 });
    box.append(titled(`${label(words)} since ${span.began_before ? "before " : ""}${clock(span.at)}, for ${lasting(span.until - span.at)}`), drawn("rect", { width: "100%", height: "100%", class: `state-${looks(span.state)}` }));
    if (width > 0.06) box.append(drawn("text", { x: 6, y: 14, class: `on-${looks(span.state)}` }, label(words)));
    return linked(span.seq, box);
  });
  const last = timeline.run_state.at(-1);
  const said = last ? runStateWords(last.state) : "not known";
  const words = changes.map((change) => `${runStateWords(change.state)} from ${change.began_before ? "before " : ""}${clock(change.at)}`).join(", ");
  return lane("of-run-state", "run state", `Run state: ${label(words || said)}`, drawn("svg", { height: 24, class: "strip" }, parts), element("span", null, /not known/.test(said) ? "" : "now ", foreign(said, 40)));
}

/** @param {Timeline} timeline @param {Scale} scale */
function balloon(timeline, { until, x }) {
  if (timeline.balloon.length === 0 && timeline.balloon_targets.length === 0) return "";
  const sizes = timeline.balloon.map(({ at, actual }) => ({ at: Date.parse(at), value: actual }));
  const targets = timeline.balloon_targets.map(({ at, value }) => ({ at: Date.parse(at), value }));
  const values = [...sizes, ...targets].map(({ value }) => value);
  const y = linear(extent(values), [PLOT, 0]);
  const across = (/** @type {number} */ at) => x(at) * WIDTH;
  const path = (/** @type {{at: number, value: number}[]} */ points, /** @type {string} */ className) =>
    drawn("path", { d: stepPath(points, across, y, until), class: className, "vector-effect": "non-scaling-stroke" });
  const drawing = drawn(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${PLOT}`, preserveAspectRatio: "none", height: 96, class: "plot" },
    targets.length > 0 && path(targets, "target"),
    path(sizes, "actual"),
  );
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  const last = sizes.at(-1)?.value;
  const target = targets.at(-1)?.value;
  const said = element(
    "span",
    null,
    last === undefined ? "" : `now ${size(last)}`,
    target === undefined ? "" : element("span", { class: "target-words" }, ` target ${size(target)}`),
  );
  const words = `Balloon: ${sizes.length} values from ${size(low)} to ${size(high)}${last === undefined ? "" : `, now ${size(last)}`}${target === undefined ? "" : `, target ${size(target)}`}`;
  const made = lane("of-balloon", "balloon", words, drawing, said);
  made.querySelector(".lane-drawing")?.append(element("span", { class: "high", "aria-hidden": "true" }, size(high)), low === high ? "" : element("span", { class: "low", "aria-hidden": "true" }, size(low)));
  made.dataset.points = JSON.stringify(timeline.balloon.map(({ seq, actual }) => [seq, actual]));
  return made;
}

/** @param {{source: number, status: number}} answer */
function severityOfAnswer({ source, status }) {
  if (status === 0) return "info";
  return (source === 3 || source === 0x103) && status === 0x84 ? "notice" : "warning";
}

/** @param {Timeline} timeline @param {Scale} scale */
function slots(timeline, scale) {
  return Object.entries(timeline.slots).map(([slot, answers]) => {
    const last = answers.at(-1);
    const drawing = marks(
      answers.map((answer) => ({ ...answer, severity: severityOfAnswer(answer), words: answer.words ?? `source ${answer.source}, status ${answer.status}` })),
      scale,
    );
    const words = last?.words ?? "";
    const said = last ? element("span", null, element("time", { datetime: last.at }, clock(Date.parse(last.at))), " ", foreign(words, 160)) : "";
    return lane("of-slot", foreign(slot, 40), `Slot ${label(slot)}: ${answers.length} answers of the guest, the last: ${label(words)}`, drawing, said);
  });
}

/** @param {Timeline} timeline @param {Scale} scale */
function panics(timeline, scale) {
  if (timeline.panics.length === 0) return "";
  const found = timeline.panics.map((panic) => ({ ...panic, severity: "critical", words: panic.summary ?? `guest panicked (${panic.action ?? "?"})` }));
  const last = found.at(-1);
  const said = element("span", null, `${found.length}, the last at ${clock(Date.parse(last?.at ?? ""))}`);
  return lane("of-panics", "panics", `Panics: ${found.length}`, marks(found, scale), said);
}

/** @param {Timeline} timeline @param {Scale} scale */
function resets(timeline, scale) {
  if (timeline.resets.length === 0) return "";
  const found = timeline.resets.map((reset) => ({ ...reset, severity: "notice", words: reset.summary ?? reset.reason ?? "reset" }));
  const last = found.at(-1);
  return lane("of-resets", "resets", `Resets: ${found.length}`, marks(found, scale), element("span", null, `${found.length}, the last: `, foreign(last?.words ?? "", 80)));
}

/**
 * @param {{at: string, seq?: number, severity: string, words: string}[]} found
 * @param {Scale} scale
 */
function marks(found, { x }) {
  return drawn(
    "svg",
    { height: 24, class: "marks" },
    drawn("line", { x1: 0, x2: "100%", y1: 12, y2: 12, class: "ground" }),
    found.map(({ at, seq, severity, words }) => {
      const text = drawn("text", { x: percent(x(Date.parse(at))), y: 17, "text-anchor": "middle", class: `severity-${severity}` }, shape(severity));
      text.append(titled(`${clock(Date.parse(at))} ${label(words)}`));
      return linked(seq, text);
    }),
  );
}

/** @param {Timeline} timeline @param {Scale} scale */
function gaps(timeline, { x }) {
  if (timeline.gaps.length === 0) return "";
  const boxes = timeline.gaps.map((gap) => {
    const [from, until] = [x(Date.parse(gap.from)), x(Date.parse(gap.until))];
    const box = drawn("rect", { x: percent(Math.max(0, from)), y: 4, width: percent(Math.max(until - Math.max(0, from), 0.003)), height: 16, class: "gap" });
    box.append(titled(`${clock(Date.parse(gap.from))} to ${clock(Date.parse(gap.until))}: ${label(gap.reason)}`));
    return linked(gap.seq, box);
  });
  const last = timeline.gaps.at(-1);
  const words = `Gaps, in which nothing is known: ${timeline.gaps.length}`;
  return lane("of-gaps", "gaps", words, drawn("svg", { height: 24, class: "strip" }, boxes), element("span", null, `${timeline.gaps.length}, the last: `, foreign(last?.reason ?? "", 120)));
}

/** @param {Scale} scale */
function axis({ from, until, x }) {
  const ticks = timeTicks(from, until, 6).filter(({ at }) => x(at) < 0.94).map(({ at, text }) => {
    const tick = element("span", null, text);
    tick.style.setProperty("--at", String(x(at)));
    return tick;
  });
  return element("div", { class: "lane of-axis", "aria-hidden": "true" }, element("span", { class: "lane-name" }), element("div", { class: "axis" }, ticks), element("span"));
}
