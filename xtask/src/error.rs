//! The error of the tasks: a sentence for the person at the terminal, and what caused it.
//!
//! Nobody handles these failures by kind: a program is missing, a guest did not boot, a file can not be written. So
//! there is one type that says what was tried and what to do. The exception is the lab's monitor, whose callers do
//! look at why QEMU refused a command: it has [an enum](crate::lab::monitor::Error) of its own, which ends up here as
//! a cause.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong, in words, with the cause beneath.
pub struct Error {
    what: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error that needs no further cause to be understood.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None }
    }

    /// An error with the one that led to it.
    pub fn because(what: impl Into<String>, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { what: what.into(), cause: Some(cause.into()) }
    }

    /// The whole story on one line: what went wrong, then each cause after a colon.
    pub fn story(&self) -> String {
        let mut story = self.what.clone();
        let mut cause = self.source();
        while let Some(next) = cause {
            story.push_str(": ");
            story.push_str(&next.to_string());
            cause = next.source();
        }
        story
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// A test that fails by `expect` prints this: it should read as well as the program's own message.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.story())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

/// Adds to a failure what was being tried.
pub trait Context<T> {
    /// Turns a failure into an [`Error`] that says `what` and keeps the failure as its cause.
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|cause| Error::because(what(), cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_names_every_cause_once() {
        let inner = Error::because("cannot read init", std::io::Error::other("disk on fire"));
        let outer: Error = Err::<(), _>(inner).context(|| "no initramfs".to_owned()).unwrap_err();
        assert_eq!(outer.to_string(), "no initramfs");
        assert_eq!(outer.story(), "no initramfs: cannot read init: disk on fire");
        assert_eq!(format!("{outer:?}"), outer.story());
    }
}
