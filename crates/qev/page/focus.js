/**
 * The focus stays where it is while things around it are drawn anew or moved.
 *
 * A browser takes the focus from an element that is moved, and from one that another replaces; who works with the
 * keyboard would begin again at the top of the page each time something happens.
 */

/** What can have the focus. */
const CAN_HAVE_IT = "a[href], button, [tabindex]";

/**
 * Changes the document, and gives the focus back to what had it, or to what stands in its place.
 *
 * @param {string} owners selects what stays itself, though it is drawn anew: a row, a tile
 * @param {() => void} change
 */
export function keepingFocus(owners, change) {
  const focused = document.activeElement;
  const owner = focused?.closest(owners);
  if (!(focused instanceof HTMLElement || focused instanceof SVGElement) || !(owner instanceof HTMLElement)) {
    change();
    return;
  }
  const { tagName } = focused;
  const look = lookOf(focused);
  const alike = () => [...owner.querySelectorAll(CAN_HAVE_IT)].filter((other) => lookOf(other) === look && other.tagName === tagName);
  const which = alike().indexOf(focused);
  change();
  if (document.activeElement === focused) return;
  const now = focused.isConnected ? focused : (alike()[which] ?? owner);
  if (now instanceof HTMLElement || now instanceof SVGElement) now.focus({ preventScroll: true });
}

/** Where else it is alike: its class, and in a drawing whose it is. @param {Element} element */
function lookOf(element) {
  return `${element.getAttribute("class") ?? ""} ${element.closest("svg")?.getAttribute("aria-label")?.split(":")[0] ?? ""}`;
}
