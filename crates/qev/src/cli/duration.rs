//! Durations as people write them: `5s`, `500ms`, `1m30s`, `2h`, and a bare number of seconds as `timeout(1)` takes it.

use jiff::SignedDuration;
use std::fmt;
use std::time::Duration;

/// The text is no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotADuration(String);

impl fmt::Display for NotADuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a duration: expected one such as 5s, 500ms, 1m30s or 2h", self.0.escape_debug())
    }
}

impl std::error::Error for NotADuration {}

/// Reads a duration that is not negative.
pub(crate) fn parse(text: &str) -> Result<Duration, NotADuration> {
    let error = || NotADuration(text.to_owned());
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| error());
    }
    let duration: SignedDuration = text.parse().map_err(|_| error())?;
    Duration::try_from(duration).map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, expected) in
            [("5s", 5000), ("500ms", 500), ("1m30s", 90_000), ("2h", 7_200_000), ("3", 3000), ("0.25", 250)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for text in ["", "soon", "-1s", "-3", "5 parsecs", "inf"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
