/**
 * Everything on the page is built here, out of elements and text: there is no way from a string to markup.
 *
 * What a guest, a QEMU or a name says is foreign. It is isolated, so that its direction of writing stays its own, what
 * cannot be seen is shown as its number, and it is cut where it is longer than a person reads.
 */

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Attributes */

/** Attributes through which a string could become a program or an address. */
const NEVER = /^(?:on|style$|srcdoc$|src$|innerhtml$)/i;

/** What a person reads of a foreign text, at most, in characters. */
export const LONGEST = 400;

/**
 * Controls; marks that turn the direction of writing; what has no width; what JavaScript calls a half of a pair.
 *
 * U+200D stays: emoji are joined by it.
 */
const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f\u2028-\u202f\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]|[\u{e0000}-\u{e0fff}]|\p{Surrogate}/gu;

/** More marks above or below one letter than any script needs reach into other lines. */
const STACKED = /(\p{M}{4})\p{M}+/gu;

/**
 * A text with nothing unseen in it: `\u{202e}` where that was.
 *
 * @param {string} text
 */
export function visible(text) {
  return text
    .replace(UNSEEN, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
    .replace(STACKED, "$1…");
}

/**
 * The beginning of a text that is too long, and how long it is.
 *
 * @param {string} text
 * @param {number} [longest]
 */
export function shortened(text, longest = LONGEST) {
  if (text.length <= longest) return visible(text);
  return `${visible(text.slice(0, longest))}… (${text.length} characters)`;
}

/**
 * A foreign text, ready to be put among ours.
 *
 * @param {unknown} value
 * @param {number} [longest]
 * @returns {HTMLElement}
 */
export function foreign(value, longest = LONGEST) {
  return fillForeign(document.createElement("bdi"), value, longest);
}

/**
 * Another foreign text in the place of one.
 *
 * @param {HTMLElement} isolated as {@link foreign} made it
 * @param {unknown} value
 * @param {number} [longest]
 */
export function fillForeign(isolated, value, longest = LONGEST) {
  isolated.textContent = shortened(typeof value === "string" ? value : asText(value), longest);
  return isolated;
}

/**
 * A foreign word for an attribute that a person hears or sees, such as `aria-label`.
 *
 * @param {string} text
 */
export function label(text) {
  return shortened(text, 120);
}

/** @param {unknown} value */
export function asText(value) {
  if (typeof value === "string") return value;
  return value === undefined ? "" : (JSON.stringify(value) ?? "");
}

/**
 * An element with these attributes and children. A function among the attributes listens to the event of that name.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Attributes | null} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/**
 * The same in a drawing.
 *
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} name
 * @param {Attributes | null} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function drawn(name, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

/**
 * @template {Element} E
 * @param {E} made
 * @param {Attributes | null | undefined} attributes
 * @param {(Child | Child[])[]} children
 * @returns {E}
 */
function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") {
      made.addEventListener(key, value);
    } else if (value !== null && value !== undefined && value !== false) {
      if (NEVER.test(key)) throw new Error(`${key} is no attribute for the page to set`);
      made.setAttribute(key, value === true ? "" : String(value));
    }
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) {
      made.append(typeof child === "number" ? String(child) : child);
    }
  }
  return made;
}
