/**
 * The links of a drawing by key: one Tab leads to the drawing, to its newest link; arrows, Home and End move among them.
 *
 * Hundreds of marks would be hundreds of Tabs otherwise.
 */

/**
 * Makes the links in a drawing reachable. Returns whether there are any.
 *
 * @param {Element} drawing
 */
export function linksByArrowKeys(drawing) {
  const links = /** @type {(SVGAElement | HTMLAnchorElement)[]} */ ([...drawing.querySelectorAll("a")]);
  links.forEach((link, index) => link.setAttribute("tabindex", index === links.length - 1 ? "0" : "-1"));
  if (links.length > 1) drawing.addEventListener("keydown", (event) => move(links, /** @type {KeyboardEvent} */ (event)));
  return links.length > 0;
}

/**
 * @param {(SVGAElement | HTMLAnchorElement)[]} links
 * @param {KeyboardEvent} event
 */
function move(links, event) {
  const at = links.findIndex((link) => link === document.activeElement);
  const to = placeAfter(event.key, at, links.length);
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  links[at]?.setAttribute("tabindex", "-1");
  links[to]?.setAttribute("tabindex", "0");
  links[to]?.focus();
}

/**
 * Where a key leads from a place among so many; nothing when it is not a key that moves.
 *
 * @param {string} key
 * @param {number} at
 * @param {number} count
 * @returns {number | undefined}
 */
export function placeAfter(key, at, count) {
  switch (key) {
    case "ArrowLeft":
    case "ArrowUp":
      return Math.max(0, at - 1);
    case "ArrowRight":
    case "ArrowDown":
      return Math.min(count - 1, at + 1);
    case "Home":
      return 0;
    case "End":
      return count - 1;
    default:
      return undefined;
  }
}
