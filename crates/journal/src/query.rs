//! What a reader is asked for.

use qev_record::Filter;

/// Which records are wanted, and in which order. The default: all, the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Which records.
    pub filter: Filter,
    /// Only those with a larger sequence number.
    pub after: Option<u64>,
    /// Only those with a smaller sequence number.
    pub before: Option<u64>,
    /// From the largest sequence number to the smallest, instead of the other way.
    pub newest_first: bool,
    /// At most so many.
    pub limit: Option<u64>,
}

impl Query {
    /// The sequence numbers that are wanted: those above the first and up to the second.
    pub(crate) fn span(&self) -> (i64, i64) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let low = self.after.map_or(0, number);
        let high = self.before.map_or(i64::MAX, |before| number(before).saturating_sub(1));
        (low, high)
    }
}
