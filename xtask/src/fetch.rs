//! What is fetched from a network is tried again before it counts as missing: a hiccup of a second must not fail a run.

use std::thread;
use std::time::Duration;

use crate::error::Error;
use crate::lab::Say;

/// How long is waited before each further try.
const WAITS: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(20), Duration::from_secs(60)];

/// Which try it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// There may be another.
    Early,
    /// There is none behind it.
    Last,
}

/// Does what needs a network, and again a few times when it fails; each failure is told.
pub fn patiently<T>(say: Say<'_>, what: &str, fetch: impl FnMut(Try) -> Result<T, Error>) -> Result<T, Error> {
    with_waits(&WAITS, say, what, fetch)
}

fn with_waits<T>(
    waits: &[Duration],
    say: Say<'_>,
    what: &str,
    mut fetch: impl FnMut(Try) -> Result<T, Error>,
) -> Result<T, Error> {
    for wait in waits {
        match fetch(Try::Early) {
            Ok(fetched) => return Ok(fetched),
            Err(error) => {
                say(&format!("{what} failed, and is tried again in {} s: {}", wait.as_secs(), error.story()));
            }
        }
        thread::sleep(*wait);
    }
    fetch(Try::Last)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_hiccup_is_told_and_forgotten() {
        let told = RefCell::new(Vec::new());
        let mut tries = 0;
        let fetched =
            with_waits(&[Duration::ZERO; 3], &|line| told.borrow_mut().push(line.to_owned()), "npm ci", |_| {
                tries += 1;
                if tries < 3 { Err(Error::new("connection reset")) } else { Ok(tries) }
            });
        assert_eq!(fetched.unwrap(), 3);
        assert_eq!(*told.borrow(), ["npm ci failed, and is tried again in 0 s: connection reset"; 2]);
    }

    #[test]
    fn what_stays_away_is_the_last_error() {
        let mut tries = Vec::new();
        let fetched: Result<(), Error> = with_waits(&[Duration::ZERO; 2], &|_| (), "npm ci", |which| {
            tries.push(which);
            Err(Error::new(format!("failure {}", tries.len())))
        });
        assert_eq!(fetched.unwrap_err().to_string(), "failure 3");
        assert_eq!(tries, [Try::Early, Try::Early, Try::Last]);
    }
}
