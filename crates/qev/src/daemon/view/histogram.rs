//! How many records there were when, of which severity: the bars above the stream.

use super::View;
use super::json::Members;
use crate::daemon::follow::{Wanted, up_to};
use crate::daemon::recorder::in_words;
use qev_journal::{Bucket, Query};
use qev_qmp::Timestamp;
use qev_record::Severity;

/// How many buckets there are when nobody says, and at most.
pub(crate) const BUCKETS: u64 = 60;
pub(crate) const MOST_BUCKETS: u64 = 200;

/// How many records are read for one answer.
const BUDGET: u64 = 400_000;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) wanted: Wanted,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) buckets: usize,
}

impl View {
    /// The bars. This reads the journal, and blocks.
    pub(crate) fn histogram_json(&self, asked: &Asked) -> String {
        let (mut sum, mut read, mut errors) = (Vec::<Bucket>::new(), 0_u64, Vec::new());
        let (mut is_complete, mut step) = (true, 0);
        for filter in asked.wanted.parts() {
            let query = Query { filter, ..up_to(self.recorder.last()) };
            let left = BUDGET.saturating_sub(read);
            let part = self.recorder.reader().histogram(&query, asked.since, asked.until, asked.buckets, left);
            sum.resize(part.buckets.len(), Bucket::default());
            for (count, more) in sum.iter_mut().flatten().zip(part.buckets.iter().flatten()) {
                *count = count.saturating_add(*more);
            }
            read = read.saturating_add(part.read);
            is_complete &= part.is_complete && part.errors.is_empty();
            errors.extend(part.errors);
            step = part.step;
        }
        let bars = sum.iter().zip(0_i64..).map(|(bucket, n)| {
            let at = asked.since.micros().unwrap_or_default().saturating_add(n.saturating_mul(step));
            let counts = Severity::ALL.into_iter().zip(bucket).filter(|(_, records)| **records > 0);
            let bar = Members::new().time("at", Timestamp::from_micros(at));
            counts.fold(bar, |bar, (severity, records)| bar.number(severity.as_str(), records)).close()
        });
        Members::new()
            .time("from", asked.since)
            .time("until", asked.until)
            .list("buckets", bars)
            .number("complete", is_complete)
            .number("scanned", read)
            .some_json("problems", problems(&errors))
            .close()
    }
}

/// What could not be read, if there is something.
fn problems(errors: &[qev_journal::ReadError]) -> Option<String> {
    let texts = errors.iter().take(8).map(|error| {
        let mut text = String::new();
        qev_qmp::json::print::string(&mut text, &in_words(error));
        text
    });
    (!errors.is_empty()).then(|| super::json::list(texts))
}
