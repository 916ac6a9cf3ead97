//! What is said about `BALLOON_CHANGE`: how much memory the balloon leaves the guest.

use super::Meaning;
use crate::explain::{Explanation, member};
use crate::severity::Severity;
use crate::size::Size;
use qev_qmp::event::BalloonChange;

pub(super) fn meaning(event: &BalloonChange) -> Meaning {
    let size = Size::from(event.actual);
    if is_possible(event) {
        Meaning::new(Severity::Info, format!("balloon at {size}"))
    } else {
        let sentence = format!("balloon at {size}, which cannot be: the guest's driver is broken or hostile");
        Meaning::new(Severity::Warning, sentence)
    }
}

/// A guest that runs has some memory: zero or less is what a driver said that claims more pages than there are.
fn is_possible(event: &BalloonChange) -> bool {
    event.actual > 0
}

pub(super) fn advice(event: &BalloonChange) -> &'static str {
    if is_possible(event) {
        "Nothing to do. If it stays above what the balloon command asked for, the guest cannot spare more; if it falls \
         without being asked, somebody set another target."
    } else {
        "Do not plan with what this guest reports about its memory, and look at what runs in it: its balloon driver \
         claims more pages than the guest has."
    }
}

pub(super) static EXPLANATION: Explanation = Explanation::new(
    "BALLOON_CHANGE",
    "1.2",
    "the guest's balloon driver has given memory back to the host or taken some",
    &[member("actual", "int").unit("bytes").says(
        "the memory that the balloon leaves the guest, plugged DIMMs included: what query-balloon gives as actual",
    )],
)
.details(&[
    "Sent when the guest's driver writes a new size, not when the balloon command is given: the command sends \
     nothing, and a guest without a driver never answers it.",
    "actual is the guest's memory less 4096 bytes for each page in the balloon. A hostile driver can claim more \
     pages than there are, and then actual is negative.",
])
.throttled("1.2", None)
.dialects("The same in the document and from QEMU.")
.advice(
    "Nothing, as a rule: compare it with what was asked for. A size of zero or less means that the guest's driver \
     cannot be trusted.",
);

#[cfg(test)]
mod tests {
    use super::super::tests::{check, check_advice};
    use super::Severity::{Info, Warning};

    #[test]
    fn sizes_are_in_binary_units() {
        check("BALLOON_CHANGE", r#"{"actual": 134217728}"#, Info, "balloon at 128 MiB");
        check("BALLOON_CHANGE", r#"{"actual": 944766976}"#, Info, "balloon at 901 MiB");
        check("BALLOON_CHANGE", r#"{"actual": 944660480}"#, Info, "balloon at 900.9 MiB");
    }

    #[test]
    fn a_hostile_driver_is_believed_nothing() {
        check(
            "BALLOON_CHANGE",
            r#"{"actual": -4096}"#,
            Warning,
            "balloon at -4 KiB, which cannot be: the guest's driver is broken or hostile",
        );
        check_advice("BALLOON_CHANGE", r#"{"actual": -4096}"#, "Do not plan");
        check_advice("BALLOON_CHANGE", r#"{"actual": 4096}"#, "Nothing to do");
    }
}
