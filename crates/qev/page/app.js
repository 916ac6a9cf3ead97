/**
 * The page: which view the address asks for, and what stands around every view.
 *
 *     #/fleet  #/stream?…filters  #/machine/NAME?since=…  #/event/SEQ
 */

import { Problem, logout } from "./api.js";
import { EventView } from "./event-view.js";
import { FleetView } from "./fleet-view.js";
import { Keyboard } from "./keyboard.js";
import { MachineView } from "./machine-view.js";
import { StreamView } from "./stream-view.js";
import { element, foreign, label } from "./text.js";
import { themeButton } from "./theme-choice.js";
import { dayAndClock, zoneInWords } from "./time.js";

/** @typedef {import("./view.js").View} View */
/** @typedef {import("./view.js").Shell} Shell */
/** @typedef {import("./stream.js").State} State */

const WORDS = /** @type {const} */ ({
  connecting: "connecting…",
  live: "live",
  still: "not live",
  lost: "Connection lost. Trying again by itself…",
  closed: "not let in",
});

/** How long until something that may pass is tried again. */
const AGAIN = 3000;

const main = found("main");
const problem = found("problem");
const status = found("status");
const announced = found("announced");
const host = found("host");
const zone = found("zone");

/** @type {View | undefined} */
let shown;
let was = "";
/** @type {ReturnType<typeof setTimeout> | undefined} */
let again;
/** The daemon that the page speaks with; another one may have other files. */
let version = "";

/** @type {Shell} */
const shell = {
  go: (address) => {
    location.hash = address.slice(1);
  },
  announce: (text) => {
    announced.textContent = label(text);
  },
  failed,
  connection,
  hello: (hello) => {
    host.replaceChildren(foreign(hello.host, 60));
    host.title = `qev ${hello.version}, started ${dayAndClock(Date.parse(hello.started))}`;
    if (version !== "" && version !== hello.version) location.reload();
    version = hello.version;
  },
};

const keyboard = new Keyboard([
  { keys: "g f", does: "go to the fleet", act: () => shell.go("#/fleet") },
  { keys: "g s", does: "go to the stream", act: () => shell.go("#/stream") },
  { keys: "g t", does: "go to the top", act: () => scrollTo({ top: 0 }) },
  { keys: "Escape", does: "close messages", act: () => problem.replaceChildren() },
]);

found("tools").append(
  element("button", { type: "button", class: "quiet", "aria-keyshortcuts": "?", click: () => keyboard.help() }, "Keys ?"),
  themeButton(),
  element("button", { type: "button", class: "quiet", click: () => void logout().then(closed) }, "Leave"),
);
found("skip").addEventListener("click", (event) => {
  // The address is the view's.
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", route);
showZone();
route();

/** @param {string} id */
function found(id) {
  const there = document.getElementById(id);
  if (!there) throw new Error(`the page has no ${id}`);
  return there;
}

/** Names the time zone of all times on the page. It is looked at again with every view, for summer time may have begun. */
function showZone() {
  const { offset, name } = zoneInWords(new Date());
  zone.textContent = offset;
  zone.title = name === "" ? "All times on this page are in this time zone." : `All times on this page are in the time zone of this browser: ${name}.`;
}

/** Shows what the address asks for. */
function route() {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [name, parameter] = path.split("/");
  clearTimeout(again);
  shown?.end();
  problem.replaceChildren();
  showZone();
  const address = new URLSearchParams(query);
  connection("connecting");
  shown = viewOf(name, parameter, address);
  const same = was === path;
  was = path;
  main.replaceChildren(shown.element);
  document.title = `${label(shown.title)} – qev`;
  keyboard.here(shown.keys);
  for (const link of document.querySelectorAll("#views a")) {
    if (link.getAttribute("href") === `#/${name || "fleet"}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (same) return;
  scrollTo({ top: 0 });
  shell.announce(shown.title);
}

/**
 * @param {string | undefined} name
 * @param {string | undefined} parameter
 * @param {URLSearchParams} address
 * @returns {View}
 */
function viewOf(name, parameter, address) {
  if (name === "stream") return new StreamView(shell, address);
  if (name === "machine" && parameter) return new MachineView(shell, decoded(parameter), address);
  if (name === "event" && parameter && /^\d{1,15}$/.test(parameter)) return new EventView(shell, Number(parameter));
  return new FleetView(shell, address);
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param {State} state */
function connection(state) {
  if (state === "closed") {
    closed();
    return;
  }
  // While it is tried again it is still lost, until it is live.
  if (state === "connecting" && status.dataset.state === "lost") return;
  if (status.dataset.state === state) return;
  status.dataset.state = state;
  status.textContent = WORDS[state];
}

/** @param {unknown} error @param {() => Promise<void>} [retry] */
function failed(error, retry) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  if (error instanceof Problem && error.isClosed) {
    closed();
    return;
  }
  const passes = error instanceof Problem && error.mayPass && retry;
  if (error instanceof Problem && error.status === 0) connection("lost");
  // The daemon has answered: nothing is being connected any more.
  else if (status.dataset.state === "connecting") connection("still");
  const words = error instanceof Error ? error.message : String(error);
  problem.replaceChildren(
    element("p", { role: "alert" }, element("strong", null, error instanceof Problem ? foreign(error.title, 100) : "Something went wrong", ": "), foreign(words, 600)),
    retry ? element("button", { type: "button", click: () => tryAgain(retry) }, "Try again") : "",
  );
  if (!passes) return;
  clearTimeout(again);
  again = setTimeout(() => tryAgain(retry), AGAIN);
}

/** @param {() => Promise<void>} retry */
function tryAgain(retry) {
  clearTimeout(again);
  problem.replaceChildren();
  void retry();
}

/** The page is not let in: how to get in. */
function closed() {
  clearTimeout(again);
  shown?.end();
  shown = undefined;
  keyboard.here([]);
  status.dataset.state = "closed";
  status.textContent = WORDS.closed;
  problem.replaceChildren();
  document.title = "How to get in – qev";
  main.replaceChildren(
    element(
      "div",
      { class: "closed" },
      element("h1", null, "How to get in"),
      element("p", null, "This page shows what machines said, so it asks who you are. On the host of the daemon, run"),
      element("pre", null, element("code", null, "qev page")),
      element("p", null, "and open the address that it prints. It works once, within ten minutes; after that this browser is known for a week."),
      element("p", null, element("button", { type: "button", click: () => location.reload() }, "I did: try again")),
    ),
  );
}
