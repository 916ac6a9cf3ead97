/** Times and lengths of time, as people say them. */

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** @param {number} number @param {number} [digits] */
function padded(number, digits = 2) {
  return String(number).padStart(digits, "0");
}

/** @param {number} time */
export function clock(time) {
  const date = new Date(time);
  return `${padded(date.getHours())}:${padded(date.getMinutes())}:${padded(date.getSeconds())}`;
}

/** @param {number} time */
export function clockWithMilliseconds(time) {
  return `${clock(time)}.${padded(new Date(time).getMilliseconds(), 3)}`;
}

/** @param {number} time */
export function day(time) {
  const date = new Date(time);
  return `${date.getFullYear()}-${padded(date.getMonth() + 1)}-${padded(date.getDate())}`;
}

/** @param {number} time */
export function dayAndClock(time) {
  return `${day(time)} ${clock(time)}`;
}

/**
 * The time zone in which times are shown: how far it is from UTC at this moment, and what it is called.
 *
 * @param {Date} date
 * @returns {{offset: string, name: string}} `UTC`, `UTC−5`, `UTC+5:45`
 */
export function zoneInWords(date) {
  const minutes = -date.getTimezoneOffset();
  const sign = minutes < 0 ? "\u2212" : "+";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const offset = minutes === 0 ? "UTC" : `UTC${sign}${hours}${rest === 0 ? "" : `:${padded(rest)}`}`;
  const { timeZone } = new Intl.DateTimeFormat().resolvedOptions();
  return { offset, name: timeZone ?? "" };
}

/**
 * A length of time, coarsely: `40 s`, `4 min`, `3 h`, `2 d`.
 *
 * @param {number} length in milliseconds
 */
export function lasting(length) {
  const seconds = Math.max(0, Math.round(length / SECOND));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 36 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}

/**
 * How long ago it was.
 *
 * @param {number} time
 * @param {number} now
 */
export function ago(time, now) {
  return now - time < 2 * SECOND ? "just now" : `${lasting(now - time)} ago`;
}

/**
 * RFC 3339, to the millisecond, in UTC: how times stand in addresses.
 *
 * @param {number} time
 */
export function rfc3339(time) {
  return new Date(time).toISOString();
}

/**
 * What `since` and `until` may say, as far as the page must know: RFC 3339, `@SECONDS`, `-1h`.
 * Anything else is for the daemon to read.
 *
 * @param {string | undefined} text
 * @param {number} now
 * @returns {number | undefined}
 */
export function readTime(text, now) {
  if (text === undefined || text === "") return undefined;
  if (text === "now") return now;
  const back = /^-(\d+(?:\.\d+)?)(s|min|m|h|d|w)$/.exec(text);
  if (back) {
    const unit = { s: SECOND, min: MINUTE, m: MINUTE, h: HOUR, d: DAY, w: 7 * DAY }[back[2] ?? "s"] ?? SECOND;
    return now - Number(back[1]) * unit;
  }
  if (/^@\d+(?:\.\d+)?$/.test(text)) return Number(text.slice(1)) * SECOND;
  const at = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}
