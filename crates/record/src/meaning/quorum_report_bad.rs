//! What is said about `QUORUM_REPORT_BAD`: a replica of a disk failed, or gave other data than the majority.

use super::{Meaning, sectors};
use crate::explain::{Explanation, member};
use crate::plain;
use crate::severity::Severity;
use qev_qmp::event::{QuorumOpType, QuorumReportBad};

/// An error and not critical: the guest still has its data, from the other replicas. A flush that failed is no less:
/// what the replica said was written may not be.
pub(super) fn meaning(event: &QuorumReportBad) -> Meaning {
    Meaning::new(Severity::Error, sentence(event))
}

fn sentence(event: &QuorumReportBad) -> String {
    let replica = plain::name(&event.node_name);
    let sectors = sectors(event.sector_count, event.sector_num);
    let what = match (&event.op, &event.error) {
        // Sectors are 0 and 0 here, which would tell nobody anything.
        (Some(QuorumOpType::Flush), _) => "failed to flush".into(),
        (None, None) => format!("gave bad data: {sectors}"),
        (Some(op), None) => format!("gave bad data: {sectors} ({})", plain::name(op.as_str())),
        (Some(op), Some(_)) => format!("failed to {} {sectors}", plain::name(op.as_str())),
        (None, Some(_)) => format!("failed on {sectors}"),
    };
    match &event.error {
        Some(error) => format!("replica {replica} {what}: {}", plain::phrase(error)),
        None => format!("replica {replica} {what}"),
    }
}

pub(super) fn advice(event: &QuorumReportBad) -> &'static str {
    match (&event.op, &event.error) {
        (_, None) => {
            "The others outvoted it and the guest got their data, but the replica still holds its own: check the \
             storage under it, then make it anew from a good replica, before a second one goes bad."
        }
        (Some(QuorumOpType::Read), Some(_)) => {
            "The guest got its data from the others. Check the storage under this replica and replace it before a \
             second one fails."
        }
        (_, Some(_)) => {
            "This replica now lacks data that the others have: check the storage under it (full, gone, broken), then \
             make it anew from a good replica."
        }
    }
}

pub(super) static EXPLANATION: Explanation = Explanation::new(
    "QUORUM_REPORT_BAD",
    "2.0",
    "the quorum block driver finds a replica bad: it failed a request, or the others outvoted what it read",
    &[
        member("type", "QuorumOpType").since("2.6").says("what the quorum was doing: read, write or flush"),
        member("error", "str")
            .optional()
            .says("what the block layer said, for people only; absent when the replica answered, but with other data"),
        member("node-name", "str").says("the node name of the replica"),
        member("sector-num", "int").unit("sectors of 512 bytes").says("the first sector of the request"),
        member("sectors-count", "int")
            .unit("sectors of 512 bytes")
            .says("how many sectors the request had; sector-count in the document's form; 0 for a flush"),
    ],
)
.details(&[
    "Without error the replica was outvoted: the winner had at least as many votes as the threshold. On a tie the \
     version of the replica that stands later in the list wins, so the one that is reported can be the good one.",
    "With read-pattern=fifo nobody votes: each replica that fails is reported until one answers, and wrong data is \
     never found.",
    "Replicas are compared only where the guest reads: a bad one can stay unseen for long.",
])
.throttled("2.0", Some("node-name, since 2.6"))
.dialects(
    "The document writes sector-count where QEMU sends sectors-count, and has no type: it is dropped when an event is \
     written in the document's form.",
)
.advice(
    "Check the storage under the replica and make it anew from a good one: another bad replica may cost the quorum. \
     The count is a lower bound, since at most one a second is sent.",
);

#[cfg(test)]
mod tests {
    use super::super::tests::{check, check_advice};
    use super::Severity::Error;

    fn bad(data: &str, sentence: &str) {
        check("QUORUM_REPORT_BAD", data, Error, sentence);
    }

    #[test]
    fn a_replica_is_outvoted() {
        bad(
            r#"{"node-name": "c1", "sectors-count": 8, "sector-num": 8, "type": "read"}"#,
            "replica c1 gave bad data: 8 sectors at 8 (read)",
        );
        bad(
            r#"{"node-name": "c1", "sectors-count": 1, "sector-num": 10, "type": "read"}"#,
            "replica c1 gave bad data: 1 sector at 10 (read)",
        );
        bad(r#"{"node-name": "c1", "sectors-count": 1, "sector-num": 10}"#, "replica c1 gave bad data: 1 sector at 10");
    }

    #[test]
    fn a_replica_fails() {
        bad(
            r#"{"node-name": "c1", "sectors-count": 8, "sector-num": 0, "type": "write", "error": "Input/output error"}"#,
            "replica c1 failed to write 8 sectors at 0: Input/output error",
        );
        bad(
            r#"{"node-name": "c1", "sectors-count": 8, "sector-num": 0, "type": "read", "error": "Input/output error"}"#,
            "replica c1 failed to read 8 sectors at 0: Input/output error",
        );
        bad(
            r#"{"node-name": "c1", "sectors-count": 0, "sector-num": 0, "type": "flush", "error": "No space left on device"}"#,
            "replica c1 failed to flush: No space left on device",
        );
        bad(
            r#"{"node-name": "c1", "sector-count": 1, "sector-num": 9, "error": "Input/output error"}"#,
            "replica c1 failed on 1 sector at 9: Input/output error",
        );
    }

    #[test]
    fn advice_depends_on_whether_the_replica_lied_or_failed() {
        check_advice("QUORUM_REPORT_BAD", r#"{"node-name": "c", "sector-num": 0, "sector-count": 1}"#, "outvoted");
        check_advice(
            "QUORUM_REPORT_BAD",
            r#"{"node-name": "c", "sector-num": 0, "sector-count": 1, "type": "write", "error": "full"}"#,
            "lacks data",
        );
    }
}
