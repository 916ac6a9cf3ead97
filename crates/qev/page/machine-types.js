/**
 * What the daemon says about a machine. Types only.
 *
 * @typedef {import("./record.js").Severity} Severity
 *
 * @typedef {object} Mention a record, in short
 * @property {number} [seq]
 * @property {string} summary
 * @property {string} received
 * @property {Severity} severity
 * @property {string} [event]
 *
 * @typedef {object} Slot
 * @property {string} slot
 * @property {string} slot_type
 * @property {string} [device]
 * @property {number} source
 * @property {number} status
 * @property {string} [words]
 * @property {string} [received]
 * @property {number} [seq]
 *
 * @typedef {object} QuorumChild
 * @property {string} node_name
 * @property {number} bad how often it was reported; of one that never was it is known that it is there
 *
 * @typedef {object} Quorum
 * @property {string} [reference]
 * @property {QuorumChild[]} children
 * @property {number} failures
 *
 * @typedef {object} Latest
 * @property {{actual: number, received?: string}} [balloon]
 * @property {string} [run_state]
 * @property {{received: string, seq?: number}} [run_state_since] absent when it was so before it was attached
 * @property {{action: string, received: string, seq?: number}} [panic]
 * @property {Slot[]} [slots]
 * @property {Quorum[]} [quorum]
 *
 * @typedef {object} Machine
 * @property {string} machine
 * @property {string} [machine_id]
 * @property {string} [session]
 * @property {string} state `attached`, `detached`, `silent`, `held`, `gone` or `unknown`
 * @property {string} since
 * @property {string} [way]
 * @property {string} [place]
 * @property {number} [pid]
 * @property {string} [run_state]
 * @property {string} [qemu]
 * @property {number} [events]
 * @property {{path: string, clients: number}} [share] where its monitor is lent, and how many clients are on it
 * @property {string} [note]
 * @property {Severity} [severity] the worst of the last hour
 * @property {Mention} [worst]
 * @property {Mention} [last]
 * @property {{from: string, step_seconds: number, counts: [number, number, Severity][]}} [histogram] sparse
 * @property {Latest} [latest]
 *
 * @typedef {{at: string, seq?: number}} At
 *
 * @typedef {object} BadSectors
 * @property {string} child
 * @property {number} sector
 * @property {number} count
 * @property {string} [type]
 * @property {string} at
 * @property {number} [seq]
 * @property {string} [error]
 * @property {number} [n] how often this was reported
 *
 * @typedef {object} NoQuorum
 * @property {string} reference
 * @property {number} sector
 * @property {number} count
 * @property {string} at
 * @property {number} [seq]
 *
 * @typedef {At & {source: number, status: number, words?: string, device?: string}} SlotAnswer
 *
 * @typedef {object} Timeline
 * @property {string} from
 * @property {string} until
 * @property {(At & {state: string, began_before?: boolean})[]} run_state
 * @property {(At & {actual: number})[]} balloon
 * @property {{at: string, value: number}[]} balloon_targets
 * @property {Record<string, SlotAnswer[]>} slots
 * @property {(At & {action?: string, summary?: string})[]} panics
 * @property {(At & {reason?: string, summary?: string})[]} resets
 * @property {{from: string, until: string, reason: string, seq?: number}[]} gaps
 * @property {BadSectors[]} quorum
 * @property {NoQuorum[]} quorum_failures
 * @property {boolean} complete
 */

export {};
