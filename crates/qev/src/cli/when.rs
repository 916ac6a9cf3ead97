//! Points in time as people write them, as systemd.time(7) reads them: `now`, `today`, `yesterday`, `-1h`, `2h 30min ago`,
//! `@1795347310`, `2026-11-22`, `2026-11-22 11:35`, `11:35:10.5`, RFC 3339. A zone may follow: `today UTC`, `11:35
//! Europe/Berlin`. Without an offset or a zone they are local time. Beyond systemd.time(7), a time span alone is one that
//! is over: `10m` is ten minutes ago.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned};
use std::fmt;

/// The text says no time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotATime(String);

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not a time: expected one such as -1h, 10m, '2 days ago', today, yesterday, 11:35, 2026-11-22, \
             '2026-11-22 11:35', @1795347310 or 2026-11-22T11:35:10Z",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for NotATime {}

/// Reads a time; what is relative is so to this moment.
pub(crate) fn parse(text: &str) -> Result<qev_qmp::Timestamp, NotATime> {
    parse_at(text, &Zoned::now())
}

fn parse_at(text: &str, now: &Zoned) -> Result<qev_qmp::Timestamp, NotATime> {
    let time = time(text.trim(), now).ok_or_else(|| NotATime(text.to_owned()))?;
    Ok(qev_qmp::Timestamp::from_micros(time.as_microsecond()))
}

fn time(text: &str, now: &Zoned) -> Option<Timestamp> {
    if text == "now" {
        return Some(now.timestamp());
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return epoch(seconds);
    }
    if let Some(span) = text.strip_prefix('-').or_else(|| text.strip_suffix(" ago")) {
        return now.timestamp().checked_sub(duration(span)?).ok();
    }
    if let Some(span) = text.strip_prefix('+').or_else(|| text.strip_suffix(" left")) {
        return now.timestamp().checked_add(duration(span)?).ok();
    }
    // RFC 3339, whose letters may be small, whose T may be a space, and here without seconds, too.
    if let Some(time) = text.parse().ok().or_else(|| without_seconds(text)) {
        return Some(time);
    }
    let (text, zone) = zone(text).unwrap_or_else(|| (text, now.time_zone().clone()));
    let today = now.with_time_zone(zone.clone()).date();
    if let Some(time) = local(without_weekday(text), today) {
        return Some(time.to_zoned(zone).ok()?.timestamp());
    }
    // A number alone could be an hour, a year, or anything.
    let has_unit = text.ends_with(char::is_alphabetic);
    if has_unit { now.timestamp().checked_sub(duration(text)?).ok() } else { None }
}

/// A time with an offset and without seconds.
fn without_seconds(text: &str) -> Option<Timestamp> {
    let formats = ["%Y-%m-%dT%H:%M%:z", "%Y-%m-%d %H:%M%:z", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d %H:%MZ"];
    formats.into_iter().find_map(|format| {
        if format.ends_with('Z') {
            return DateTime::strptime(format, text).ok()?.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp());
        }
        Timestamp::strptime(format, text).ok()
    })
}

/// What stands before the name of a time zone, and the zone.
fn zone(text: &str) -> Option<(&str, TimeZone)> {
    let (time, name) = text.rsplit_once(' ')?;
    if name == "UTC" {
        return Some((time, TimeZone::UTC));
    }
    // Other names without a '/' say nothing for certain: CST is a time of China's, too.
    let zone = name.contains('/').then(|| TimeZone::get(name).ok())??;
    Some((time, zone))
}

/// Seconds since the epoch, fractions too.
fn epoch(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_negative = whole.starts_with('-');
    if fraction.is_empty() || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let micros = if is_negative { -micros } else { micros };
    Timestamp::from_microsecond(seconds.checked_mul(1_000_000)?.checked_add(micros)?).ok()
}

/// `Sun 2026-11-22` is 2026-11-22, as systemd prints it.
fn without_weekday(text: &str) -> &str {
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let is_day = |word: &str| DAYS.iter().any(|day| *day == word || day.get(..3) == Some(word));
    match text.split_once(' ') {
        Some((day, rest)) if is_day(day) => rest.trim_start(),
        _ => text,
    }
}

/// A date, a time of today, or both.
fn local(text: &str, today: Date) -> Option<DateTime> {
    let (date, clock) = match text.split_once([' ', 'T']) {
        Some((date, clock)) => (Some(date), Some(clock.trim_start())),
        None if text.contains(':') => (None, Some(text)),
        None => (Some(text), None),
    };
    let date = date.map_or(Some(today), |date| day(date, today))?;
    Some(date.to_datetime(clock.map_or(Some(Time::midnight()), time_of_day)?))
}

fn day(text: &str, today: Date) -> Option<Date> {
    let days = match text {
        "today" => Some(0),
        "yesterday" => Some(-1),
        "tomorrow" => Some(1),
        _ => None,
    };
    match days {
        Some(days) => today.checked_add(days.days()).ok(),
        // A year of two digits first: to the other format it is one of the first century.
        None => ["%y-%m-%d", "%Y-%m-%d"].into_iter().find_map(|format| Date::strptime(format, text).ok()),
    }
}

fn time_of_day(text: &str) -> Option<Time> {
    ["%H:%M", "%H:%M:%S", "%H:%M:%S%.f"].into_iter().find_map(|format| Time::strptime(format, text).ok())
}

/// `1h`, `1h30min`, `2 days 4h`: systemd's units, in which a month has 30.44 days and a year 365.25.
fn duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text.trim();
    let mut total = 0.0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at_checked(number_end)?;
        let behind = behind.trim_start();
        let unit_end = behind.find(|c: char| !c.is_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(unit_end)?;
        total += number.parse::<f64>().ok()? * seconds(unit)?;
        rest = behind.trim_start();
    }
    SignedDuration::try_from_secs_f64(total).ok()
}

fn seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "us" | "usec" | "µs" | "μs" => 1e-6,
        "ms" | "msec" => 1e-3,
        "" | "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        "M" | "month" | "months" => 2_630_016.0,
        "y" | "year" | "years" => 31_557_600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At 2026-11-22 12:35:10.25 in a zone two hours east.
    fn now() -> Zoned {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        Date::constant(2026, 11, 22).at(12, 35, 10, 250_000_000).to_zoned(zone).unwrap()
    }

    fn check(text: &str, expected: &str) {
        let time = parse_at(text, &now()).map(qev_record::time::to_rfc3339);
        assert_eq!(time.as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn words_are_days_in_local_time() {
        check("now", "2026-11-22T10:35:10.250000Z");
        check("today", "2026-11-21T22:00:00.000000Z");
        check("yesterday", "2026-11-20T22:00:00.000000Z");
        check("tomorrow", "2026-11-22T22:00:00.000000Z");
        check("today UTC", "2026-11-22T00:00:00.000000Z");
        check("yesterday 11:35", "2026-11-21T09:35:00.000000Z");
    }

    #[test]
    fn so_long_ago() {
        check("-1h", "2026-11-22T09:35:10.250000Z");
        check("-1h30min", "2026-11-22T09:05:10.250000Z");
        check("-90", "2026-11-22T10:33:40.250000Z");
        check("-1.5m", "2026-11-22T10:33:40.250000Z");
        check("2 days 1h ago", "2026-11-20T09:35:10.250000Z");
        check("-1week", "2026-11-15T10:35:10.250000Z");
        check("-1month", "2026-10-23T00:01:34.250000Z");
        check("10m", "2026-11-22T10:25:10.250000Z");
        check("1h", "2026-11-22T09:35:10.250000Z");
        check("1h30m", "2026-11-22T09:05:10.250000Z");
        check("2 days", "2026-11-20T10:35:10.250000Z");
        check("+250ms", "2026-11-22T10:35:10.500000Z");
        check("5min left", "2026-11-22T10:40:10.250000Z");
    }

    #[test]
    fn seconds_since_the_epoch() {
        check("@1795347310", "2026-11-22T11:35:10.000000Z");
        check("@1795347310.942235", "2026-11-22T11:35:10.942235Z");
        check("@1795347310.5", "2026-11-22T11:35:10.500000Z");
        check("@-1.5", "1969-12-31T23:59:58.500000Z");
    }

    #[test]
    fn dates_and_times_without_an_offset_are_local() {
        check("2026-11-22", "2026-11-21T22:00:00.000000Z");
        check("2026-11-22 11:35", "2026-11-22T09:35:00.000000Z");
        check("2026-11-22 11:35:10", "2026-11-22T09:35:10.000000Z");
        check("2026-11-22T11:35:10.942911", "2026-11-22T09:35:10.942911Z");
        check("Sun 2026-11-22 11:35:10", "2026-11-22T09:35:10.000000Z");
        check("Sunday 2026-11-22 11:35:10", "2026-11-22T09:35:10.000000Z");
        check("26-11-22", "2026-11-21T22:00:00.000000Z");
        check("2026-11-22 11:35:10.942911123", "2026-11-22T09:35:10.942911Z");
        check("2026-11-22 11:35 UTC", "2026-11-22T11:35:00.000000Z");
        check("11:35", "2026-11-22T09:35:00.000000Z");
        check("11:35:10.5", "2026-11-22T09:35:10.500000Z");
    }

    #[test]
    fn with_an_offset_they_are_what_they_say() {
        check("2026-11-22T11:35:10Z", "2026-11-22T11:35:10.000000Z");
        check("2026-11-22T11:35:10.942911+05:30", "2026-11-22T06:05:10.942911Z");
        check("2026-11-22 11:35:10-01:00", "2026-11-22T12:35:10.000000Z");
        check("2026-11-22T11:35+02:00", "2026-11-22T09:35:00.000000Z");
        check("2026-11-22T11:35Z", "2026-11-22T11:35:00.000000Z");
    }

    #[test]
    fn what_says_no_time_is_told_what_does() {
        for text in [
            "",
            "soon",
            "-",
            "-1",
            "@",
            "@x",
            "@1.",
            "@1.x",
            "-1 parsec",
            "2026-13-01",
            "2026-11-22 25:00",
            "-1h-",
            "ago",
            "@99999999999999999999",
            "-99999999999999y",
            "10",
            "1h30",
            "2026",
            "2026-11-22 11:35 CET",
            "2026-11-22 11:35 No/Where",
            "-1e3s",
            "--1h",
            "ü ago",
        ] {
            // A bare number is one of seconds.
            if text != "-1" {
                assert!(parse_at(text, &now()).is_err(), "{text}");
            }
        }
        let error = parse_at("half \u{1b}past", &now()).unwrap_err().to_string();
        assert!(error.starts_with(r"'half \u{1b}past' is not a time: expected one such as -1h, "), "{error}");
    }
}
