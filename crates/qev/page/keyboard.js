/** Keys: single ones, and `g` followed by another. The help shows the table that they are looked up in. */

import { element } from "./text.js";

/**
 * @typedef {object} Key
 * @property {string} keys such as `j` or `g f`
 * @property {string} does in words, for the help
 * @property {() => void} act
 */

/** How long after `g` the second key may come. */
const TOGETHER = 1500;

export class Keyboard {
  /** @type {Key[]} */
  #always = [];
  /** @type {Key[]} */
  #here = [];
  #before = "";
  #when = 0;
  /** @type {HTMLDialogElement | undefined} */
  #help;

  /** @param {Key[]} always keys that every view has */
  constructor(always) {
    this.#always = [...always, { keys: "?", does: "this help", act: () => this.help() }];
    document.addEventListener("keydown", (event) => this.#press(event));
  }

  /**
   * Which keys the view has that is shown.
   *
   * @param {Key[]} keys
   */
  here(keys) {
    this.#here = keys;
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || this.#help?.open) return;
    if (isTypedInto(event.target)) {
      if (event.key === "Escape") /** @type {HTMLElement} */ (event.target).blur();
      return;
    }
    const two = event.timeStamp - this.#when < TOGETHER ? `${this.#before} ${event.key}` : "";
    const all = [...this.#here, ...this.#always];
    const found = all.find((key) => key.keys === two) ?? all.find((key) => key.keys === event.key);
    this.#before = found ? "" : event.key;
    this.#when = event.timeStamp;
    if (!found) return;
    // A button or a link that has the focus is what Enter is for.
    if (event.key === "Enter" && isActedOn(event.target)) return;
    event.preventDefault();
    found.act();
  }

  /** Shows what there is. */
  help() {
    const rows = [...this.#here, ...this.#always].map(({ keys, does }) =>
      element("tr", null, element("th", { scope: "row" }, ...keys.split(" ").map((key) => element("kbd", null, key))), element("td", null, does)),
    );
    const dialog = element(
      "dialog",
      { class: "help", "aria-labelledby": "help-title", close: () => dialog.remove(), click: closeOutside },
      element("h2", { id: "help-title" }, "Keys"),
      element("table", null, element("tbody", null, rows)),
      element("form", { method: "dialog" }, element("button", null, "Close")),
    );
    document.body.append(dialog);
    dialog.showModal();
    this.#help = dialog;
  }
}

/** @param {MouseEvent} event */
function closeOutside(event) {
  const dialog = event.currentTarget;
  if (dialog instanceof HTMLDialogElement && event.target === dialog) dialog.close();
}

/** @param {EventTarget | null} target */
function isTypedInto(target) {
  return target instanceof HTMLElement && target.matches("input, select, textarea, [contenteditable]");
}

/** @param {EventTarget | null} target */
function isActedOn(target) {
  return target instanceof Element && target.matches("button, a[href], summary");
}
