//! What is said about `QUORUM_FAILURE`: too few replicas of a disk agree, and the guest's request failed.

use super::{Meaning, sectors};
use crate::explain::{Explanation, member};
use crate::plain;
use crate::severity::Severity;
use qev_qmp::event::QuorumFailure;

/// Critical: the guest got an I/O error, and which replica is right nobody knows.
///
/// The event does not tell a read from a write. The document speaks of a failed read, and so does the sentence.
pub(super) fn meaning(event: &QuorumFailure) -> Meaning {
    let sectors = sectors(event.sector_count, event.sector_num);
    let sentence = format!("no quorum on {}: {sectors} could not be read", plain::name(&event.reference));
    Meaning::new(Severity::Critical, sentence)
}

pub(super) const ADVICE: &str = "The guest got an I/O error for these sectors. Keep it from writing, find out which \
     replica is right (QUORUM_REPORT_BAD names those that failed; when they only differ, none is named), and restore \
     the others from it or from a backup.";

pub(super) static EXPLANATION: Explanation = Explanation::new(
    "QUORUM_FAILURE",
    "2.0",
    "the quorum block driver cannot establish a quorum: fewer replicas than its threshold answered, or agree",
    &[
        member("reference", "str").says("the device name of the quorum, or its node name if it has none"),
        member("sector-num", "int").unit("sectors of 512 bytes").says("the first sector of the request that failed"),
        member("sectors-count", "int")
            .unit("sectors of 512 bytes")
            .says("how many sectors the request had; sector-count in the document's form"),
    ],
)
.details(&[
    "The request fails with an I/O error. It may have been a write as well as a read: the event does not tell, \
     though its description speaks of reads only. Flushes never cause it, and neither does read-pattern=fifo.",
    "Replicas that failed are reported with a QUORUM_REPORT_BAD each before it. When all answered and no version of \
     the data has enough votes, QUORUM_FAILURE comes alone.",
    "Requests that are not a whole number of sectors are rounded outward to sectors.",
])
.throttled("2.0", None)
.dialects("The document writes sector-count where QEMU sends sectors-count. Either is understood.")
.advice(ADVICE);

#[cfg(test)]
mod tests {
    use super::super::tests::{check, check_advice};
    use super::Severity::Critical;

    #[test]
    fn the_guest_got_an_error() {
        check(
            "QUORUM_FAILURE",
            r#"{"reference": "q0", "sectors-count": 1, "sector-num": 128}"#,
            Critical,
            "no quorum on q0: 1 sector at 128 could not be read",
        );
        check(
            "QUORUM_FAILURE",
            r#"{"reference": "usr1", "sector-num": 345435, "sector-count": 5}"#,
            Critical,
            "no quorum on usr1: 5 sectors at 345435 could not be read",
        );
        check_advice(
            "QUORUM_FAILURE",
            r#"{"reference": "q0", "sectors-count": 1, "sector-num": 128}"#,
            "find out which replica is right",
        );
    }
}
