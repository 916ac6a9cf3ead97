/**
 * What is looked for: as a person types it, as it stands in the address, and as the daemon is asked.
 *
 *     GUEST_* machine:web* severity:error data.action=pause since:-1h kind:gap grep:"disk full"
 *
 * A link holds all of it, so it shows the same to whoever opens it.
 */

/**
 * @typedef {object} Filters
 * @property {string[]} event globs, any of them
 * @property {string[]} where conditions, all of them
 * @property {string[]} machine globs, any of them
 * @property {string[]} kind
 * @property {string} grep a text that the record has; empty for all
 * @property {string} severity that and above; empty for all
 * @property {string} since
 * @property {string} until
 */

/** The filters that may be given more than once. */
export const MANY = /** @type {const} */ (["event", "where", "machine", "kind"]);

/** The filters that have one value. */
export const ONE = /** @type {const} */ (["grep", "severity", "since", "until"]);

/** @returns {Filters} */
export function noFilters() {
  return { event: [], where: [], machine: [], kind: [], grep: "", severity: "", since: "", until: "" };
}

/** @param {Filters} filters */
export function isEmpty(filters) {
  return MANY.every((name) => filters[name].length === 0) && ONE.every((name) => filters[name] === "");
}

/**
 * @param {URLSearchParams} address
 * @returns {Filters}
 */
export function fromAddress(address) {
  const filters = noFilters();
  for (const name of MANY) filters[name] = address.getAll(name).filter((value) => value !== "");
  for (const name of ONE) filters[name] = address.get(name) ?? "";
  return filters;
}

/**
 * For the address, and for the daemon, whose parameters have the same names.
 *
 * @param {Filters} filters
 * @returns {URLSearchParams}
 */
export function toAddress(filters) {
  const address = new URLSearchParams();
  for (const name of MANY) for (const value of filters[name]) address.append(name, value);
  for (const name of ONE) if (filters[name] !== "") address.set(name, filters[name]);
  return address;
}

/**
 * What the daemon is asked: the filters, and with events that are picked out the gaps too, for what is missing may be
 * one of those.
 *
 * @param {Filters} filters
 */
export function toQuery(filters) {
  const query = toAddress(filters);
  if (filters.kind.length === 0 && (filters.event.length > 0 || filters.where.length > 0)) {
    query.set("others", "true");
    query.append("kind", "event");
    query.append("kind", "gap");
  }
  return query;
}

/**
 * Reads what a person typed. A word alone is an event, `PATH=VALUE` is a condition, and `name:value` says what it is.
 * Quotes hold a word with blanks together.
 *
 * @param {string} text
 * @returns {Filters}
 */
export function fromText(text) {
  const filters = noFilters();
  for (const word of words(text)) {
    const [, name, value] = /^([a-z]+):(.*)$/s.exec(word) ?? [];
    if (isMany(name)) {
      if (value) filters[name].push(value);
    } else if (isOne(name)) {
      filters[name] = value ?? "";
    } else if (word.includes("=")) {
      filters.where.push(word);
    } else {
      filters.event.push(word);
    }
  }
  return filters;
}

/**
 * What a person would type for it.
 *
 * @param {Filters} filters
 */
export function toText(filters) {
  const said = filters.event.map((event) => (/[:=]/.test(event) ? `event:${event}` : event));
  said.push(...filters.where.map((where) => (where.includes("=") && !/^[a-z]+:/.test(where) ? where : `where:${where}`)));
  for (const name of /** @type {const} */ (["machine", "kind"])) {
    said.push(...filters[name].map((value) => `${name}:${value}`));
  }
  for (const name of ONE) if (filters[name] !== "") said.push(`${name}:${filters[name]}`);
  return said.map(quoted).join(" ");
}

/** @param {string} word */
function quoted(word) {
  return /[\s"\\]/.test(word) ? `"${word.replace(/["\\]/g, "\\$&")}"` : word;
}

/** @param {string} text */
function words(text) {
  const found = text.match(/(?:"(?:[^"\\]|\\.)*"?|[^\s"])+/gs) ?? [];
  return found.map((word) => word.replace(/"((?:[^"\\]|\\.)*)"?/gs, (_, inside) => inside.replace(/\\(.)/gs, "$1")));
}

/**
 * @param {string | undefined} name
 * @returns {name is typeof MANY[number]}
 */
function isMany(name) {
  return MANY.some((known) => known === name);
}

/**
 * @param {string | undefined} name
 * @returns {name is typeof ONE[number]}
 */
function isOne(name) {
  return ONE.some((known) => known === name);
}
