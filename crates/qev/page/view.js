/**
 * What a view is to the shell around it, and the shell to a view. Types only.
 *
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {string} title
 * @property {import("./keyboard.js").Key[]} keys
 * @property {() => void} end lets go of everything: it is shown no longer
 *
 * @typedef {object} Shell
 * @property {(address: string) => void} go
 * @property {(text: string) => void} announce says it to who listens instead of looking
 * @property {(error: unknown, again?: () => Promise<void>) => void} failed shows what went wrong; what may pass is tried again
 * @property {(state: import("./stream.js").State) => void} connection
 * @property {(hello: import("./stream.js").Hello) => void} hello
 */

export {};
