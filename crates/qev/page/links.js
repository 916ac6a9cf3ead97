/** Addresses within the page: everything that a link must show again stands behind the `#`. */

import { noFilters, toAddress } from "./filters.js";

/** @param {Partial<import("./filters.js").Filters>} [filters] */
export function streamLink(filters = {}) {
  const query = String(toAddress({ ...noFilters(), ...filters }));
  return query ? `#/stream?${query}` : "#/stream";
}

/** Longer names do not fit into an address that is asked for. */
const LONGEST_NAME = 300;

/** Stands for the name of a machine whose session or identity is in the address. */
export const ANY_NAME = "*";

/**
 * @param {{machine: string, session?: string, machine_id?: string}} machine
 * @param {boolean} [shared] whether others have this name too
 */
export function machineLink({ machine, session, machine_id }, shared = false) {
  const which = new URLSearchParams();
  const long = machine.length > LONGEST_NAME && Boolean(session || machine_id);
  if ((shared || long) && machine_id) which.set("machine_id", machine_id);
  if ((shared || long) && session) which.set("session", session);
  const path = `#/machine/${encodeURIComponent(long ? ANY_NAME : machine)}`;
  return which.size > 0 ? `${path}?${which}` : path;
}

/** @param {number} seq */
export function eventLink(seq) {
  return `#/event/${seq}`;
}

/**
 * A name as a pattern that means only itself; of one that is too long its beginning.
 *
 * @param {string} name
 */
export function literally(name) {
  const pattern = name.slice(0, LONGEST_NAME).replace(/[*?[\]]|\p{Surrogate}/gu, "?");
  return name.length > LONGEST_NAME ? `${pattern}*` : pattern;
}
