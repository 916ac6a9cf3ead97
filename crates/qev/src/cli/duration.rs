//! Durations as people write them: `5s`, `500ms`, `1m30s`, `2h`, `30d`, and a bare number of seconds as `timeout(1)` takes
//! it.

use jiff::{Span, SpanRelativeTo};
use std::fmt;
use std::time::Duration;

/// The text is no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotADuration(String);

impl fmt::Display for NotADuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a duration: expected one such as 5s, 500ms, 1m30s, 2h or 30d", self.0.escape_debug())
    }
}

impl std::error::Error for NotADuration {}

/// Reads a duration that is not negative.
pub(crate) fn parse(text: &str) -> Result<Duration, NotADuration> {
    let error = || NotADuration(text.to_owned());
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| error());
    }
    let span: Span = text.parse().map_err(|_| error())?;
    // Of months and years nobody knows how long they are.
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| error())?;
    Duration::try_from(duration).map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, expected) in [
            ("5s", 5000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("2d", 172_800_000),
            ("1w", 604_800_000),
            ("3", 3000),
            ("0.25", 250),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for text in ["", "soon", "-1s", "-3", "5 parsecs", "inf", "1mo", "1y"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
