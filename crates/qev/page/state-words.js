/** What a machine is doing, in words: by whether it is attached first, then by what QEMU says of it. */

/** @typedef {import("./machine-types.js").Machine} Machine */

/** What QEMU's run states mean to a person; the others say it themselves. */
const RUN_STATES = /** @type {Readonly<Record<string, string>>} */ ({
  "guest-panicked": "panicked, paused",
  "io-error": "paused: I/O error",
  "internal-error": "paused: internal error",
  inmigrate: "waiting for a migration",
  postmigrate: "paused after a migration",
  "finish-migrate": "finishing a migration",
  "save-vm": "saving its state",
  "restore-vm": "restoring its state",
  prelaunch: "not started yet",
  watchdog: "paused by its watchdog",
  colo: "in COLO",
  unknown: "not known",
});

/** @param {string | undefined} state */
export function runStateWords(state) {
  return state === undefined ? "attached" : (RUN_STATES[state] ?? state);
}

/** @param {Machine} machine */
export function stateWords(machine) {
  switch (machine.state) {
    case "attached":
      return runStateWords(machine.latest?.run_state ?? machine.run_state);
    case "held":
      return "held by another client";
    default:
      return machine.state;
  }
}

/**
 * How a state looks: whether it runs, stands, is broken, or is not known.
 *
 * @param {string | undefined} state QEMU's
 * @returns {"runs" | "stands" | "broken" | "ended"}
 */
export function looks(state) {
  if (state === "running") return "runs";
  if (state === "shutdown" || state === "unknown") return "ended";
  return /panic|error|watchdog/.test(state ?? "") ? "broken" : "stands";
}
