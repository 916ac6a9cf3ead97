// The host that the browser's tests look at, as xtask/tests/it/page.rs made it, and what they may do to it.

import { execFileSync, spawn } from "node:child_process";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * @typedef {object} Host
 * @property {string} address to get in, once
 * @property {string} origin
 * @property {string} program
 * @property {string[]} serve the daemon's arguments
 * @property {number} daemon its process
 * @property {string} state its state directory
 * @property {string} home
 * @property {string} steady where the guest of the machine `steady` takes orders
 * @property {string} hostile that of the machine with a name that would do harm
 * @property {string} hostile_name
 * @property {string} chromium
 * @property {string} profile
 * @property {string} pictures
 * @property {number} [machines] how many there are, where it matters
 */

const described = process.env.QEV_PAGE;
if (!described) throw new Error("QEV_PAGE describes the host; cargo xtask test sets it");

/** @type {Host} */
export const host = JSON.parse(described);

/** How long something may take that is bound to come. */
export const PATIENCE = 120_000;

/** @param {string[]} words */
function qev(...words) {
  return execFileSync(host.program, words, { encoding: "utf8", maxBuffer: 1 << 28, env: { ...process.env, HOME: host.home, XDG_CONFIG_HOME: host.home } });
}

/**
 * What `qev log` has, oldest first.
 *
 * @param {...string} words
 * @returns {any[]}
 */
export function journal(...words) {
  const lines = qev("log", "-o", "json", "--state-dir", host.state, ...words).split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line));
}

/**
 * Has a guest emit an event, of any form.
 *
 * @param {string} guest
 * @param {string} event
 * @param {unknown} data
 */
export function emit(guest, event, data) {
  qev("send", guest, "emit", JSON.stringify({ event, data, unchecked: true }));
}

/**
 * Has a guest emit these events as fast as it can, all over one connection.
 *
 * @param {string} guest
 * @param {string[]} events their names
 */
export async function burst(guest, events) {
  const socket = connect(guest);
  let heard = "";
  socket.setEncoding("utf8");
  socket.on("data", (text) => (heard += text));
  const commands = events.map((event) => JSON.stringify({ execute: "emit", arguments: { event, data: {}, unchecked: true } }));
  socket.write(`{"execute": "qmp_capabilities"}${commands.join("")}`);
  await until(`${events.length} events were emitted`, () => (heard.match(/"return"/g) ?? []).length > events.length);
  socket.destroy();
}

/**
 * The number of the newest record.
 *
 * @returns {number}
 */
export function last() {
  return journal("-n", "1")[0].seq;
}

/** Kills the daemon and waits until it is gone. */
export async function killDaemon() {
  process.kill(host.daemon, "SIGKILL");
  await until("the daemon is gone", () => {
    try {
      return execFileSync("cat", [`/proc/${host.daemon}/stat`], { encoding: "utf8" }).includes(") Z ");
    } catch {
      return true;
    }
  });
}

/** @type {import("node:child_process").ChildProcess | undefined} */
let another;

/** Starts the daemon again, as it was. The kernel ends it with us. */
export function startDaemon() {
  another = spawn("setpriv", ["--pdeathsig", "KILL", "--", host.program, ...host.serve], {
    stdio: "ignore",
    env: { ...process.env, HOME: host.home, XDG_CONFIG_HOME: host.home },
  });
}

/**
 * Starts a simulated machine that dials the daemon. The kernel ends it with us.
 *
 * @param {string} name
 */
export function startMachine(name) {
  const attach = host.serve[host.serve.indexOf("--attach") + 1] ?? "";
  return spawn("setpriv", ["--pdeathsig", "KILL", "--", host.program, "simulate", "--dial", attach, "--name", name], { stdio: "ignore" });
}

/** Ends the daemon that was started here. */
export function endDaemon() {
  another?.kill("SIGTERM");
}

/**
 * Waits until it is so.
 *
 * @template T
 * @param {string} what
 * @param {() => T | Promise<T>} look
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(what, look) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const seen = await look();
    if (seen) return /** @type {NonNullable<T>} */ (seen);
    if (Date.now() > deadline) throw new Error(`not so within ${PATIENCE / 1000} s: ${what}`);
    await sleep(100);
  }
}
