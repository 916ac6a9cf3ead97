/**
 * The QEMUs of the host that are not attached: why each is not, and the line that would attach it. What is not attached is not
 * watched, so a fleet that looks calm must not hide it.
 */

import { discover } from "./api.js";
import { counted } from "./numbers.js";
import { element, foreign } from "./text.js";

/** @typedef {import("./api.js").DiscoveredQemu} DiscoveredQemu */

/** How often the host is looked at, in milliseconds. */
const EVERY = 15_000;

/** How many QEMUs are listed; the others are counted. */
const LISTED = 50;

/** How long a line may be that is shown to be copied. Nothing of it may be missing, so a longer one is not shown. */
const LONGEST_LINE = 4000;

export class Unattached {
  #ended = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #shown = "";

  constructor() {
    this.element = element("section", { class: "unattached", "aria-labelledby": "unattached-title", hidden: true });
    void this.#look();
  }

  end() {
    this.#ended.abort();
    clearTimeout(this.#timer);
  }

  async #look() {
    const { signal } = this.#ended;
    try {
      if (!document.hidden) this.#show((await discover(signal)).filter((qemu) => !qemu.attached));
    } catch {
      // The list stays as it was. The view around it says when the daemon does not answer.
    }
    if (!signal.aborted) this.#timer = setTimeout(() => void this.#look(), EVERY);
  }

  /** @param {DiscoveredQemu[]} qemus */
  #show(qemus) {
    // Somebody may be selecting a line to copy it.
    const news = JSON.stringify(qemus);
    if (this.#shown === news) return;
    this.#shown = news;
    this.element.hidden = qemus.length === 0;
    const left = qemus.length - LISTED;
    this.element.replaceChildren(
      element("h2", { id: "unattached-title" }, `${counted(qemus.length, "QEMU")} on this host ${qemus.length === 1 ? "is" : "are"} not attached`),
      element("ul", null, ...qemus.slice(0, LISTED).map(listItem), left > 0 && element("li", null, `and ${left} more: `, element("code", null, "qev machines --discover"))),
    );
  }
}

/** @param {DiscoveredQemu} qemu */
function listItem(qemu) {
  const line = qemu.attach;
  return element(
    "li",
    null,
    element("p", null, element("strong", null, foreign(qemu.name ?? `pid-${qemu.pid}`, 60)), ` (process ${qemu.pid}): `, foreign(qemu.why, 400)),
    line !== null && line.length <= LONGEST_LINE && element("pre", { tabindex: "0", "aria-label": "the line that attaches it" }, element("code", null, foreign(line, LONGEST_LINE))),
  );
}
