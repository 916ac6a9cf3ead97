//! What was complained about, so that it is told once: a QEMU that cannot be used dials again every second.

use crate::exit::tell;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// How many complaints are remembered; then all are forgotten, and told again.
const REMEMBERED: usize = 4096;

/// The complaints that were told.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeSet<String>>);

impl Told {
    /// Tells it, unless it was told already.
    pub(crate) fn once(&self, complaint: &str) {
        if self.is_news(complaint) {
            tell(complaint);
        }
    }

    fn is_news(&self, complaint: &str) -> bool {
        // What is behind the lock is whole at every moment.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(complaint) {
            return false;
        }
        if told.len() >= REMEMBERED {
            told.clear();
        }
        told.insert(complaint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_news_once_and_what_is_remembered_is_bounded() {
        let told = Told::default();
        assert!(told.is_news("a") && !told.is_news("a") && told.is_news("b"));
        for number in 0..2 * REMEMBERED {
            told.is_news(&number.to_string());
        }
        assert!(told.0.lock().unwrap().len() <= REMEMBERED);
    }
}
