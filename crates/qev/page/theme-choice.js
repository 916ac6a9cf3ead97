/** The button that goes round: as the system is, light, dark. `theme.js` puts the choice to use at the next load. */

import { element } from "./text.js";

const KEY = "qev-theme";
const CHOICES = /** @type {const} */ (["system", "light", "dark"]);

/** @returns {HTMLButtonElement} */
export function themeButton() {
  const button = element("button", { type: "button", class: "quiet", click: () => choose(next()) });
  const show = () => {
    button.textContent = `Theme: ${current()}`;
    button.title = `Theme: ${current()}. Choose ${next()}.`;
  };
  const choose = (/** @type {string} */ choice) => {
    if (choice === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // It holds for this page at least.
    }
    show();
  };
  show();
  return button;
}

function current() {
  return CHOICES.find((choice) => choice === document.documentElement.dataset.theme) ?? "system";
}

function next() {
  return CHOICES[(CHOICES.indexOf(current()) + 1) % CHOICES.length] ?? "system";
}
