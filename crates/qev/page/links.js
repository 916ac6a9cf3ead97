/** Addresses within the page: everything that a link must show again stands behind the `#`. */

import { noFilters, toAddress } from "./filters.js";

/** @param {Partial<import("./filters.js").Filters>} [filters] */
export function streamLink(filters = {}) {
  const query = String(toAddress({ ...noFilters(), ...filters }));
  return query ? `#/stream?${query}` : "#/stream";
}

/**
 * @param {{machine: string, session?: string, machine_id?: string}} machine
 * @param {boolean} [shared] whether others have this name too
 */
export function machineLink({ machine, session, machine_id }, shared = false) {
  const which = new URLSearchParams();
  if (shared && machine_id) which.set("machine_id", machine_id);
  if (shared && session) which.set("session", session);
  const path = `#/machine/${encodeURIComponent(machine)}`;
  return which.size > 0 ? `${path}?${which}` : path;
}

/** @param {number} seq */
export function eventLink(seq) {
  return `#/event/${seq}`;
}

/**
 * A name as a pattern that means only itself.
 *
 * @param {string} name
 */
export function literally(name) {
  return name.replace(/[*?[\]]/g, "?");
}
